"""Ticks, restarts, durable state and refusals, as their events must tell them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.clock import Clock, to_us
from supervisor.errors import BreakerOpen, KillSwitchEngaged, SessionNotActive
from supervisor.events import kinds
from supervisor.events.log import Recorded
from supervisor.outcome import WORKER_OUTCOMES
from supervisor.simulation.breaker_watch import BreakerWatch
from supervisor.simulation.checks import Checks
from supervisor.simulation.session_rules import SessionRules
from supervisor.simulation.store import Refused
from supervisor.supervision import Intensity

#: What may pass between a fact and its record: commits, and the kill watch's look.
_SLACK_S = 1.0


@dataclass(slots=True)
class _Running:
    number: int
    session_id: str
    boot_id: str
    killed_s: float | None = None


@dataclass(slots=True)
class _Worker:
    """A worker as its events tell it; `*_s` by the monotonic clock."""

    last_tick: int = 0
    running: _Running | None = None
    ended_s: float | None = None
    was_refused: bool = False
    is_failed: bool = False
    not_before_s: float = 0.0
    crashes: deque[float] = field(default_factory=deque)
    state: int = 0
    pending: tuple[int, int] | None = None


@dataclass(slots=True)
class WorkRules:
    """Every worker's ticks.

    `troubled_s` is when something last happened that lets waits end early or late, `locked_s`
    when a store was last locked, or a daemon asked to stop.
    """

    clock: Clock
    checks: Checks
    sessions: SessionRules
    every_s: Mapping[str, float | None]
    intensity: Intensity
    kill_latency_s: float
    boot_id: str = ""
    troubled_s: float = -1.0
    locked_s: float = -1.0
    _workers: dict[str, _Worker] = field(init=False)
    _breakers: BreakerWatch = field(init=False)
    _checkpoints: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._workers = {name: _Worker() for name in self.every_s}
        self._breakers = BreakerWatch(self.clock, self.checks, self._runs)

    def begin_life(self, boot_id: str) -> None:
        """Note that another process has started: it knows of no crash and of no wait."""
        self.boot_id = boot_id
        for worker in self._workers.values():
            worker.is_failed, worker.not_before_s, worker.ended_s = False, 0.0, None
            worker.crashes.clear()

    def disturb(self) -> None:
        """Note that something has happened after which no wait is what it was meant to be."""
        self.troubled_s = self.clock.monotonic()

    def follow(self, recorded: Recorded) -> None:
        """Apply one event.

        Raises:
            Violation: it should not be there, or not say this.
        """
        match event := recorded.event:
            case kinds.CycleStarted():
                self._start(recorded, event)
            case kinds.CycleSkipped():
                worker = self._number(event.worker, event.tick)
                worker.ended_s, worker.was_refused = self.clock.monotonic(), True
                self._excuse(worker, event.code)
            case kinds.CycleCompleted():
                self._complete(recorded, event)
            case kinds.CycleRecovered():
                self._recover(event)
            case kinds.WorkerCrashed():
                self._crash(event)
            case kinds.WorkerFailed():
                self._fail(event)
            case kinds.ConfigurationChanged():
                self._reload()
            case kinds.KillSwitchEngaged():
                self._kill(event)
            case kinds.KillSwitchReleased():
                self.disturb()
            case _:
                self._follow_rest(recorded)

    def _follow_rest(self, recorded: Recorded) -> None:
        match event := recorded.event:
            case kinds.CheckpointCreated():
                self._checkpoints[event.checkpoint] = self._workers[event.worker].state
            case kinds.RollbackCompleted():
                self._workers[event.worker].state = self._checkpoints[event.checkpoint]
            case kinds.SessionResumed():
                self.disturb()
            case _:
                self._breakers.follow(recorded)

    def _runs(self, tick: str) -> bool:
        name, _, number = tick.partition("#")
        running = self._workers[name].running
        return running is not None and str(running.number) == number

    def _number(self, name: str, tick: int) -> _Worker:
        worker = self._workers[name]
        check, now_s = self.checks.require, self.clock.monotonic()
        check(tick == worker.last_tick + 1, "ticks are numbered without a gap", name, tick)
        check(worker.running is None, "a worker runs one tick", name, worker.running)
        check(not worker.is_failed, "a failed worker stays failed", name, tick)
        is_late_enough = now_s >= worker.not_before_s
        check(is_late_enough, "a crashed worker waits", name, worker.not_before_s - now_s)
        self._check_pace(name, worker, now_s)
        worker.last_tick = tick
        return worker

    def _check_pace(self, name: str, worker: _Worker, now_s: float) -> None:
        every_s = self.every_s[name]
        if every_s is None or worker.ended_s is None or self.troubled_s >= worker.ended_s:
            return
        waited_s = now_s - worker.ended_s
        self.checks.require(waited_s > every_s - 1e-3, "no busy loop", name, waited_s)
        if not worker.was_refused:
            is_due = waited_s <= every_s + _SLACK_S
            self.checks.require(is_due, "a tick comes when it is due", name, waited_s)

    def _start(self, recorded: Recorded, event: kinds.CycleStarted) -> None:
        worker = self._number(event.worker, event.tick)
        self.sessions.check_start(recorded, event.worker)
        self._breakers.check_start(event.worker, to_us(recorded.origin.at))
        orphans = [
            other
            for other in self._workers.values()
            if other.running is not None and other.running.boot_id != self.boot_id
        ]
        self.checks.require(not orphans, "recovery comes before traffic", event, orphans)
        worker.running = _Running(event.tick, recorded.session_id, self.boot_id)
        worker.was_refused = False

    def _complete(self, recorded: Recorded, event: kinds.CycleCompleted) -> None:
        worker = self._workers[event.worker]
        running, check = worker.running, self.checks.require
        is_it = running is not None and running.number == event.tick
        check(is_it, "a tick ends once", event, running)
        assert running is not None, event
        check(running.session_id == recorded.session_id, "a tick is in one session", event, running)
        check(running.boot_id == self.boot_id, "only its own life completes a tick", event, running)
        self._check_kill(running, event)
        self._end(worker)
        worker.was_refused = event.outcome in ("refused", "cancelled")
        self._excuse(worker, event.code)
        if worker.pending is not None and event.outcome in WORKER_OUTCOMES and not event.code:
            worker.state = worker.pending[1]
        worker.pending = None

    def _excuse(self, worker: _Worker, code: str) -> None:
        # An open breaker says itself when to come again.
        if code == BreakerOpen.code:
            worker.ended_s = None

    def _check_kill(self, running: _Running, event: kinds.CycleCompleted) -> None:
        if running.killed_s is None or self.locked_s > running.killed_s:
            return
        took_s = self.clock.monotonic() - running.killed_s
        is_in_time = took_s <= self.kill_latency_s + _SLACK_S
        self.checks.require(is_in_time, "a kill reaches work in flight", event, took_s)

    def _recover(self, event: kinds.CycleRecovered) -> None:
        worker = self._workers[event.worker]
        running = worker.running
        is_it = running is not None and running.number == event.tick
        self.checks.require(is_it, "a tick ends once", event, running)
        assert running is not None, event
        is_orphan = running.boot_id == event.boot_id != self.boot_id
        self.checks.require(is_orphan, "only orphans are recovered", event, running)
        worker.running = worker.ended_s = worker.pending = None

    def _end(self, worker: _Worker) -> None:
        worker.running, worker.ended_s = None, self.clock.monotonic()

    def _crash(self, event: kinds.WorkerCrashed) -> None:
        worker, now_s = self._workers[event.worker], self.clock.monotonic()
        worker.crashes.append(now_s)
        within = [at for at in worker.crashes if at > now_s - self.intensity.window_s + _SLACK_S]
        is_within = len(within) <= self.intensity.restarts_max
        self.checks.require(is_within, "restarts stay within intensity", event, len(within))
        is_bounded = event.restart_in_s <= self.intensity.delay_max_s
        self.checks.require(is_bounded, "restarts back off to a limit", event)
        worker.not_before_s = now_s + event.restart_in_s
        worker.ended_s = None

    def _fail(self, event: kinds.WorkerFailed) -> None:
        worker, now_s = self._workers[event.worker], self.clock.monotonic()
        start_s = now_s - self.intensity.window_s - _SLACK_S
        within = sum(at > start_s for at in worker.crashes) + 1
        # Where a store was locked meanwhile, some of the crashes have no event.
        has_cause = within > self.intensity.restarts_max or self.troubled_s > start_s
        self.checks.require(has_cause, "restarts stay within intensity", event, within)
        worker.is_failed = True

    def _reload(self) -> None:
        self.disturb()
        for worker in self._workers.values():
            if worker.is_failed:
                worker.is_failed, worker.ended_s = False, None
                worker.crashes.clear()

    def _kill(self, event: kinds.KillSwitchEngaged) -> None:
        for name, worker in self._workers.items():
            running = worker.running
            if running is not None and event.scope in (
                "system",
                f"worker:{name}",
                f"session:{running.session_id}",
            ):
                running.killed_s = self.clock.monotonic()

    def follow_refusal(self, refused: Refused) -> None:
        """Check a refusal of a gate: what it names must be so.

        Raises:
            Violation: it is not.
        """
        rule = "no phantom refusal"
        match refusal := refused.refusal:
            case KillSwitchEngaged():
                self.checks.require(refusal.scope in self.sessions.latches, rule, refusal)
            case SessionNotActive(status="over"):
                was_set_back = to_us(self.clock.now()) < self.sessions.latest_us
                self.checks.require(was_set_back, rule, refusal)
            case SessionNotActive():
                session = self.sessions.find(refusal.session_id)
                is_so = session is not None and session.status == refusal.status
                self.checks.require(is_so, rule, refusal, session)
            case BreakerOpen():
                self._breakers.check_refusal(refusal)
            case _:
                return

    def check_call(self, worker: str) -> None:
        """Check that a paid call may arrive now.

        Raises:
            Violation: its worker is killed, or runs no tick.
        """
        running = self._workers[worker].running
        self.checks.require(running is not None, "a call is made by a tick", worker)
        assert running is not None, worker
        scope = self.sessions.latched(worker, running.session_id)
        at_s = self.sessions.latches.get(scope or "", 0.0)
        is_free = scope is None or at_s >= self.clock.monotonic()
        self.checks.require(is_free, "no call under a kill", worker, scope)

    def begin_work(self, worker: str, state: int) -> None:
        """Check what a worker finds in its state.

        Raises:
            Violation: it is not what its last committed tick has left.
        """
        expected = self._workers[worker].state
        self.checks.require(state == expected, "state is durable", worker, state, expected)

    def end_work(self, worker: str, tick: int, state: int) -> None:
        """Note what a worker is about to leave in its state."""
        self._workers[worker].pending = (tick, state)

    def check_end(self) -> None:
        """Check that nothing is left running.

        Raises:
            Violation: a tick has not ended.
        """
        for name, worker in self._workers.items():
            left = worker.running
            self.checks.require(left is None, "every started tick ends", name, left)

    def is_running(self, worker: str) -> bool:
        return self._workers[worker].running is not None
