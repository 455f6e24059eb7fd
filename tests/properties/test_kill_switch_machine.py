"""No tick begins and no call is placed while a kill reaches it (K2, K3, K4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from supervisor.clock import from_us
from supervisor.errors import KillSwitchEngaged
from supervisor.governance.kill_switch import engaged
from supervisor.governance.rotation import close_session
from supervisor.ledger.holds import Hold
from supervisor.outcome import Outcome
from supervisor.worker.records import Skipped, Started
from tests.properties.effort import effort
from tests.properties.session_world import World
from tests.properties.stores import Memory, Store

pytestmark = pytest.mark.timeout(3_600)

WORKERS = ("a", "b")
a_worker = st.sampled_from(WORKERS)
a_span = st.sampled_from([900, 3_600])


class KillSwitchMachine(RuleBasedStateMachine):
    """Kills and releases of every scope, through restarts, rotations, reloads and odd clocks."""

    def __init__(self) -> None:
        super().__init__()
        self.latched: set[str] = set()
        self.commands = 0
        self.sessions: list[str] = []
        #: The worker's last session, where a person has aborted that: its kill goes on.
        self.aborted: dict[str, str] = {}

    def opened(self) -> Store:
        return Memory()

    @initialize(span=a_span)
    def begin(self, span: int) -> None:
        start = datetime(2026, 6, 1, 10, 5, tzinfo=UTC)
        self.world = World(self.opened(), ZoneInfo("UTC"), start)
        self.world.start(dict.fromkeys(WORKERS, span))

    def _reached(self, worker: str, session_id: str | None) -> list[str]:
        """Return the kills that reach a worker in a session, the smallest scope first."""
        scopes = (f"session:{session_id}", f"worker:{worker}", "system")
        return [scope for scope in scopes if scope in self.latched]

    @rule(worker=a_worker)
    def begin_a_tick(self, worker: str) -> None:
        if worker in self.world.running:
            return
        session = self.world.open_session(worker)
        reached = self._reached(worker, session.id if session else self.aborted.get(worker))
        begun = self.world.begin(worker)
        if reached:
            assert isinstance(begun, Skipped), f"a tick began under {reached}"
            assert isinstance(begun.refusal, KillSwitchEngaged)
            assert begun.refusal.scope == reached[0], "the smallest scope is named"
            return
        is_killed = isinstance(begun, Skipped) and isinstance(begun.refusal, KillSwitchEngaged)
        assert not is_killed, f"a kill that was released, or of somebody else: {begun}"
        if isinstance(begun, Started):
            assert self._reached(worker, begun.session.id) == []
            self.aborted.pop(worker, None)
            if begun.session.id not in self.sessions:
                self.sessions.append(begun.session.id)

    @rule(worker=a_worker)
    def call(self, worker: str) -> None:
        if worker not in self.world.running:
            return
        session_id = self.world.running[worker].session.id
        reached = self._reached(worker, session_id)
        placed = self.world.place(worker)
        if reached:
            assert isinstance(placed, KillSwitchEngaged), f"a call was placed under {reached}"
            assert placed.scope == reached[0]
        else:
            assert isinstance(placed, Hold), placed

    @rule(worker=a_worker)
    def finish(self, worker: str) -> None:
        if worker in self.world.running:
            self.world.finish(worker, Outcome.OK)

    @rule(
        scope=st.sampled_from(["system", "worker:a", "worker:b", "session"]),
        pick=st.integers(0, 9),
        is_engaged=st.booleans(),
    )
    def kill_or_release(self, scope: str, pick: int, is_engaged: bool) -> None:
        if scope == "session":
            if not self.sessions:
                return
            # The newest most often: it is the one that somebody would kill.
            newest_first = self.sessions[::-1]
            scope = f"session:{newest_first[pick % min(len(newest_first), 3)]}"
        self.commands += 1
        done = self.world.kill(scope, f"k{self.commands}", is_engaged=is_engaged)
        assert done.changed == ((scope in self.latched) != is_engaged)
        (self.latched.add if is_engaged else self.latched.discard)(scope)

    @rule()
    def stop_and_start(self) -> None:
        spans = self.world.spans
        self.world.stop()
        self.world.start(spans)

    @rule()
    def crash_and_start(self) -> None:
        self.world.start(self.world.spans)

    @rule(span=a_span)
    def reload(self, span: int) -> None:
        self.world.reload({name: min(span, self.world.spans[name]) for name in WORKERS})

    @rule(minutes=st.sampled_from([1, 15, 60, 25 * 60, -30, -24 * 60]))
    def move_clock(self, minutes: int) -> None:
        self.world.clock.at += timedelta(minutes=minutes)

    @rule(worker=a_worker)
    def move_clock_to_the_windows_end(self, worker: str) -> None:
        session = self.world.open_session(worker)
        if session is not None:
            self.world.clock.at = max(self.world.clock.at, from_us(session.window_end))

    @rule(worker=a_worker)
    def close_the_session(self, worker: str) -> None:
        """Close it as recovery does with one of a worker that left the config."""
        session = self.world.open_session(worker)
        if session is not None and worker not in self.world.running:
            self.world.clock.at = max(self.world.clock.at, from_us(session.window_end))
            self.world.store.write(close_session, session, self.world.origin())

    @rule(worker=a_worker)
    def abort_the_session(self, worker: str) -> None:
        session = self.world.open_session(worker)
        if session is not None and worker not in self.world.running:
            self.commands += 1
            self.world.abort(session.id, f"k{self.commands}")
            self.aborted[worker] = session.id

    @invariant()
    def every_latch_is_there_until_it_is_released(self) -> None:
        assert {latch.scope for latch in self.world.store.write(engaged)} == self.latched

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.prove()
            self.world.store.close()


TestKillSwitch = KillSwitchMachine.TestCase
TestKillSwitch.settings = effort(examples=80, steps=40)
