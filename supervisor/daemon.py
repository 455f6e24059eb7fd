"""The composition root: builds every part once, starts the children, and stops them."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from anyio.abc import TaskGroup
from structlog.typing import FilteringBoundLogger

from supervisor.assembly import build_intensity, build_models, build_plan, build_policy
from supervisor.clock import SystemClock
from supervisor.config import Loaded, load, take_notify_socket
from supervisor.errors import ConfigError, StoreUnavailable, cause_of
from supervisor.event_lines import EventLines
from supervisor.events.log import Origin
from supervisor.events.telemetry import Telemetry
from supervisor.governance.rotation import system_journal
from supervisor.http.answers import Answers
from supervisor.http.app import serve
from supervisor.ids import RandomIds
from supervisor.lifecycle import (
    Life,
    begin_life,
    changed_keys,
    end_life,
    keep_fixed,
    record_reload,
)
from supervisor.maintenance.heartbeat import HEARTBEAT_NAME, Heartbeat
from supervisor.maintenance.kill_watch import KillWatch
from supervisor.maintenance.peers import Peers
from supervisor.maintenance.ping import Ping
from supervisor.maintenance.process_watch import ProcessWatch, Reach
from supervisor.maintenance.service_manager import ServiceManager
from supervisor.maintenance.stop_file import STOP_NAME
from supervisor.maintenance.stop_request import StopRequest
from supervisor.maintenance.vitals import Vitals
from supervisor.maintenance.witness import check_not_behind, read_witness
from supervisor.metrics import Metrics
from supervisor.outcome import Outcome
from supervisor.storage.database import Database
from supervisor.supervision import Child, ChildGivenUp, Supervision
from supervisor.upkeep import Upkeep
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.queue_loop import tick_once
from supervisor.worker.tick import TickEnd, WorkerCrashed
from supervisor.worker.workforce import Workforce

EXIT_STOPPED = 0
EXIT_RESTART = 75

_CHILD_GRACE_S = 2.0


class Daemon:
    """One life of the daemon. Its own task alone writes its fields."""

    def __init__(
        self, loaded: Loaded, *, database: Database, log: FilteringBoundLogger, life: Life
    ) -> None:
        self._loaded = loaded
        self._life = life
        self._log = log
        self._database = database
        self._clock = SystemClock()
        self._chance = random.Random()  # noqa: S311 - jitter, not a secret
        self._is_ready = False
        self._has_ended = False
        self._reloading = anyio.Lock()
        self._supervision: Supervision | None = None
        self._stop = StopRequest(log, on_hurry=self._hurry)
        self._peers = Peers(host=life.host, clock=self._clock)
        self.metrics = Metrics(version=life.version)
        self._manager = ServiceManager(take_notify_socket())
        self._build(loaded)

    def _build(self, loaded: Loaded) -> None:
        section = loaded.config.supervisor
        self.kernel = Kernel(
            boot_id=self._life.boot_id,
            database=self._database,
            clock=self._clock,
            chance=self._chance,
            models=build_models(loaded),
            policy=build_policy(loaded),
            config_dir=loaded.folder,
            state_dir=loaded.state_dir,
            log=self._log,
            request_stop=self._stop.ask,
        )
        self._workforce = Workforce(
            self.kernel,
            intensity=build_intensity(loaded.config),
            grace_s=section.grace_s,
            kill_latency_s=section.kill_latency_s,
            timezone=loaded.timezone,
        )
        timeouts_s = {name: w.tick_timeout_s for name, w in loaded.config.worker.items()}
        self._vitals = Vitals(timeouts_s, self._clock)
        self._stop_file = loaded.state_dir / STOP_NAME
        self._heartbeat_file = loaded.state_dir / HEARTBEAT_NAME
        self.kill_watch = KillWatch(
            database=self._database,
            in_flight=self.kernel.in_flight,
            stop_file=self._stop_file,
            log=self._log,
            on_stop=partial(self._stop.ask, in_a_hurry=True),
            on_change=self._on_foreign_commit,
        )
        self._upkeep = Upkeep(
            self.kernel,
            loaded=lambda: self._loaded,
            peers=self._peers,
            metrics=self.metrics,
            vitals=self._vitals,
            workforce=self._workforce,
        )
        self.kill_watch.follow(self._upkeep.follow_others)
        self._build_watchers(loaded)

    def _build_watchers(self, loaded: Loaded) -> None:
        section = loaded.config.supervisor
        self.telemetry = Telemetry(
            database=self._database,
            clock=self._clock,
            log=self._log,
            open_journal=lambda tx, origin: system_journal(tx, loaded.timezone, origin),
            held_max=section.telemetry_held_max,
        )
        self.process_watch = ProcessWatch(
            section,
            clock=self._clock,
            log=self._log,
            telemetry=self.telemetry,
            stop_file=self._stop_file,
            reach=Reach(
                running=self._vitals.running,
                request_restart=self._stop.ask_for_restart,
                exit_at_once=self._exit_at_once,
            ),
        )

    @property
    def state(self) -> str:
        """What the daemon is doing, in one word."""
        if self.kernel.is_stopping:
            return "stopped" if self._has_ended else "draining"
        if not self._is_ready:
            return "starting"
        return "degraded" if self._workforce.failed else "running"

    def _on_foreign_commit(self) -> None:
        self._workforce.wake_all()
        self._upkeep.wake()

    def _hurry(self) -> None:
        if self._supervision is not None:
            self._supervision.hurry()

    @property
    def _exit_code(self) -> int:
        return EXIT_RESTART if self._stop.is_for_restart else EXIT_STOPPED

    def _exit_at_once(self) -> None:
        """End this process from any thread; recovery closes at the next start what is open."""
        is_stop = self._stop.asked.is_set() or self._stop_file.exists()
        os._exit(self._exit_code if is_stop else EXIT_RESTART)

    async def run(self, plans: list[WorkerPlan], listening: socket.socket) -> int:
        """Live until asked to stop, and return the exit code.

        Raises:
            StoreUnavailable: the store failed at the start.
        """
        await self._begin(plans)
        failure: BaseException | None = None
        try:
            async with anyio.create_task_group() as tasks:
                await self._live(tasks, plans, listening)
                tasks.cancel_scope.cancel()
        except* ChildGivenUp as given_up:
            # Above this stands the service manager: it restarts us with everything fresh.
            self._stop.why = f"a part of the daemon crashed too often: {given_up.exceptions}"
            self._stop.is_for_restart = True
            self._log.error("part_given_up", why=self._stop.why)
        except* StoreUnavailable as failed:
            # Recovery, before any work was begun: the start has failed.
            failure = failed
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
            self._stop.why = f"recovery was not possible: {failure}"
        await self._end()
        if failure is not None:
            raise failure
        return self._exit_code

    async def run_once(self, worker: str) -> TickEnd:
        """Run one tick of one worker, after recovery and through every gate, and end this life.

        SIGTERM and the STOP file end the tick as they do in the daemon.
        """
        plan = build_plan(self._loaded, worker)
        self._stop.why = f"one tick of {worker} is over"
        await self._begin([plan])
        await self._upkeep.recover()
        await self._upkeep.burns.once()
        end = TickEnd(outcome=Outcome.CANCELLED, why="it was stopped")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.kill_watch.run)
            tasks.start_soon(self._cancel_when_stopped, tasks.cancel_scope)
            try:
                end = await tick_once(self.kernel, plan)
            except WorkerCrashed as crash:
                self._log.error("crashed", child=worker, exc_info=crash.__cause__)
                end = TickEnd(outcome=Outcome.FAILED, why=cause_of(crash.__cause__ or crash))
            tasks.cancel_scope.cancel()
        await self._end()
        return end

    async def _cancel_when_stopped(self, scope: anyio.CancelScope) -> None:
        """End the one tick: at once for the STOP file, after the grace for a signal."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._obey_signals, tasks, None)
            await self._stop.asked.wait()
            self.kernel.is_stopping = True
            with anyio.move_on_after(self._loaded.config.supervisor.grace_s):
                await self._stop.hurried.wait()
            scope.cancel()

    async def _begin(self, plans: list[WorkerPlan]) -> None:
        self.process_watch.start()
        upkeep, metrics = self._upkeep, self.metrics
        for listener in (metrics.follow, self._vitals.follow, EventLines(self._log), upkeep.follow):
            self._database.listen(listener)
        path, names = self._heartbeat_file, [plan.name for plan in plans]
        await self._database.read(check_not_behind, read_witness(path), path)
        budgets = self.kernel.policy.budgets
        latches = await self._database.write(begin_life, self._life, names, budgets, self._origin())
        await self._database.read(self._vitals.load)
        for latch in latches:
            fix = "`supervisor release` clears it"
            self._log.warning("kill_in_force", scope=latch.scope, why=latch.why, fix=fix)

    async def _live(
        self, tasks: TaskGroup, plans: list[WorkerPlan], listening: socket.socket
    ) -> None:
        supervision = Supervision(
            tasks, clock=self._clock, chance=self._chance, on_crash=self._workforce.on_crash
        )
        self._supervision = supervision
        tasks.start_soon(self._obey_signals, tasks, supervision)
        heartbeat = self._heartbeat(tasks)
        self._upkeep.watch(heartbeat)
        server = serve(self._answers(heartbeat), self._loaded, listening)
        supervision.start(self._child("http", server.run_until_stopped, server.stop))
        supervision.start(self._child("kill-watch", self.kill_watch.run))
        supervision.start(self._child("telemetry", self.telemetry.run))
        await self._upkeep.recover()
        self._is_ready = True
        for plan in plans:
            self._workforce.start(supervision, plan)
        supervision.start(self._child("heartbeat", heartbeat.run))
        supervision.start(self._child("memory", self.process_watch.memory.run))
        for name, duty in self._upkeep.children().items():
            supervision.start(self._child(name, duty))
        self._manager.notify("READY=1")
        await self._stop.asked.wait()
        await self._drain(supervision, heartbeat)

    def _heartbeat(self, tasks: TaskGroup) -> Heartbeat:
        section = self._loaded.config.supervisor
        return Heartbeat(
            database=self._database,
            clock=self._clock,
            log=self._log,
            vitals=self._vitals,
            manager=self._manager,
            ping=Ping(section.heartbeat_ping_url, tasks=tasks, clock=self._clock, log=self._log),
            path=self._heartbeat_file,
            boot_id=self._life.boot_id,
            pid=self._life.pid,
            every_s=section.heartbeat_s,
            state=lambda: self.state,
            watched=self.kill_watch.troubles,
        )

    def _answers(self, heartbeat: Heartbeat) -> Answers:
        return Answers(
            database=self._database,
            clock=self._clock,
            kernel=self.kernel,
            metrics=self.metrics,
            vitals=self._vitals,
            heartbeat=heartbeat,
            kill_watch=self.kill_watch,
            loop_lag=self.process_watch.loop_lag,
            telemetry=self.telemetry,
            ids=RandomIds(),
            on_decision=self._upkeep.approvals.look,
            is_ready=lambda: self._is_ready,
            loaded=lambda: self._loaded,
        )

    def _child(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        stop: Callable[[], None] | None = None,
    ) -> Child:
        intensity = build_intensity(self._loaded.config)
        if stop is None:
            return Child(name=name, run=run, intensity=intensity)
        return Child(name=name, run=run, stop=stop, grace_s=_CHILD_GRACE_S, intensity=intensity)

    async def _obey_signals(self, tasks: TaskGroup, supervision: Supervision | None) -> None:
        wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        with anyio.open_signal_receiver(*wanted) as signals:
            async for received in signals:
                if received is not signal.SIGHUP:
                    is_second = self._stop.asked.is_set()
                    self._stop.ask(f"received {received.name}", in_a_hurry=is_second)
                elif supervision is not None:
                    # Beside this loop: a reload waits for the ticks of removed workers.
                    tasks.start_soon(self._reload, supervision)

    async def _drain(self, supervision: Supervision, heartbeat: Heartbeat) -> None:
        """Take no new work, let ticks finish within the grace, then stop the rest in reverse."""
        self.kernel.is_stopping = True
        self._manager.notify("STOPPING=1", "STATUS=draining")
        await self._workforce.stop(supervision)
        await heartbeat.beat()
        await supervision.stop()
        self._has_ended = True
        heartbeat.write_file(self.state)
        abandoned = supervision.abandoned()
        if abandoned:
            await self._leave_behind(abandoned)

    async def _leave_behind(self, abandoned: list[str]) -> None:
        """End this process although a worker swallows its cancellation: a stop is a stop.

        Its tick stays open in the store, and recovery closes it at the next start.
        """
        self._log.error("worker_swallows_cancellation", workers=abandoned)
        await self._end()
        await self._database.close()
        os._exit(self._exit_code)

    async def _end(self) -> None:
        await self.telemetry.close()
        origin = self._origin()
        try:
            await self._database.write(
                end_life, self._life, self._loaded.timezone, origin, why=self._stop.why
            )
        except StoreUnavailable as error:
            # Recovery closes at the next start what could not be closed now.
            self._log.error("end_not_written", error=str(error))
        await self.kernel.models.close()
        self._manager.close()
        self.process_watch.stop()
        self._log.info("stopped", why=self._stop.why)

    async def _reload(self, supervision: Supervision) -> None:
        """Take up a changed config; an invalid one leaves everything as it is and says why."""
        async with self._reloading:
            if not self._stop.asked.is_set():
                await self._reload_now(supervision)

    async def _reload_now(self, supervision: Supervision) -> None:
        try:
            loaded, fixed = keep_fixed(self._loaded, load(self._loaded.path))
            plans = {name: build_plan(loaded, name) for name in loaded.config.worker}
            models, policy = build_models(loaded), build_policy(loaded)
            changes = changed_keys(self._loaded.config, loaded.config)
            await self._database.write(
                record_reload, changes, list(plans), policy.budgets, self._origin()
            )
        except (ConfigError, StoreUnavailable) as error:
            self._log.error("reload_refused", error=str(error), kept=str(self._loaded.path))
            return
        for key in fixed:
            self._log.warning("reload_needs_restart", key=key)
        self._loaded = loaded
        self.kernel.models, self.kernel.policy = models, policy
        self._vitals.expect({name: plan.tick_timeout_s for name, plan in plans.items()})
        self._upkeep.alerts.reconfigure()
        await self._workforce.replace(supervision, plans)
        self._log.info("reloaded", changes=changes)

    def _origin(self) -> Origin:
        return Origin(at=self._clock.now(), actor="daemon")
