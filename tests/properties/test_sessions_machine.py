"""Sessions and their windows against a model: ticks, rotations, pauses, crashes, odd clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from supervisor.clock import from_us, to_us
from supervisor.errors import BreakerOpen, IllegalMove, KillSwitchEngaged, Refusal, SessionNotActive
from supervisor.governance.session import DAEMON_STOPPED, Session, SessionStatus, SessionWithTotals
from supervisor.outcome import Outcome
from supervisor.worker.records import Skipped
from tests.properties import known_gaps, wall_clock
from tests.properties.effort import effort
from tests.properties.session_world import World, decoded, sealed_as, stamp
from tests.properties.stores import Memory, Store

pytestmark = pytest.mark.timeout(3_600)

WORKERS = ("a", "b")
a_worker = st.sampled_from(WORKERS)
a_span = st.sampled_from([900, 1_800, 3_600, 7_200, 14_400, 21_600, 86_400])
steps = st.sampled_from([1, 600, 900, 3_600, 4 * 3_600, 86_400, 3 * 86_400, 400 * 86_400])


class SessionsMachine(RuleBasedStateMachine):
    """Lives of a daemon with two workers; every step is one of the product's transactions."""

    def __init__(self) -> None:
        super().__init__()
        self.sealed: dict[str, tuple[SessionWithTotals, int]] = {}
        self.killed: set[str] = set()
        self.overran: set[str] = set()
        self.kills = self.aborts = 0
        self.aborted: set[str] = set()
        self.ticks: dict[str, int] = {}
        self.ended: set[tuple[str, int]] = set()

    def opened(self) -> Store:
        return Memory()

    @initialize(zone=st.sampled_from(wall_clock.ZONES), minutes=st.integers(-300, 300), span=a_span)
    def begin(self, zone: str, minutes: int, span: int) -> None:
        info = ZoneInfo(zone)
        changes = wall_clock.clock_changes(info, 2026) or (datetime(2026, 6, 1, tzinfo=UTC),)
        start = changes[minutes % len(changes)] + timedelta(minutes=minutes)
        self.world = World(self.opened(), info, start)
        self.seen = start
        self.narrowest = {"a": span, "b": 3_600}
        self.world.start(self.narrowest)

    # --- ticks

    @rule(worker=a_worker)
    def begin_a_tick(self, worker: str) -> None:
        if worker not in self.world.spans or worker in self.world.running:
            return
        before = self.world.open_session(worker)
        begun = self.world.begin(worker)
        self.ticks[worker] = self.ticks.get(worker, 0) + 1
        assert begun.tick == self.ticks[worker], "ticks are numbered without a gap"
        after = self.world.open_session(worker)
        now = self.world.clock.at
        if worker in self.killed:
            assert isinstance(begun, Skipped)
            assert isinstance(begun.refusal, KillSwitchEngaged)
            assert _place(after) == _place(before), "a killed worker does not rotate"
            return
        is_a_persons = (
            before is not None
            and before.status is SessionStatus.PAUSED
            and before.why != DAEMON_STOPPED
        )
        if before is not None and is_a_persons:
            assert isinstance(begun, Skipped)
            assert isinstance(begun.refusal, SessionNotActive)
            assert after is not None
            assert after.id == before.id, "a paused session stays, also past its window"
            return
        if before is not None and now < from_us(before.window_end):
            assert after is not None
            assert after.id == before.id, "a window that is not over is kept"
        else:
            self._check_opened(worker, before, after)
        if after is None:
            assert isinstance(begun, Skipped)
            assert isinstance(begun.refusal, SessionNotActive)
            return
        assert begun.session is not None
        assert begun.session.id == after.id
        if isinstance(begun, Skipped):
            assert isinstance(begun.refusal, BreakerOpen)
            assert worker in self.overran
        assert after.status is SessionStatus.ACTIVE

    def _check_opened(self, worker: str, before: Session | None, after: Session | None) -> None:
        now, zone = self.world.clock.at, self.world.zone
        start, end = wall_clock.window(now, self.world.spans[worker], zone)
        if known_gaps.WINDOWS_CAN_BE_WIDENED:
            # Where a window was made wider its first one is shorter. One that began later than now
            # was lived under a clock that was ahead: it keeps nobody from working today.
            ends = [
                from_us(sealed.window_end)
                for sealed, _ in self.sealed.values()
                if sealed.worker == worker and from_us(sealed.window_start) <= now
            ]
            if before is not None:
                ends.append(from_us(before.window_end))
            start = max([start, *ends])
            is_over = now < start
        else:
            is_over = f"{worker}@{stamp(start)}" in self.sealed
        assert (after is None) == is_over, f"a window that is over, or not: {start}"
        if after is None:
            latest = max(self.sealed.values(), key=lambda one: _start_of(one, worker))[0]
            is_rest = latest.id in self.aborted and now < from_us(latest.window_end)
            assert is_rest or now < self.seen, "no session, though the clock has not gone back"
            return
        session_id = f"{worker}@{stamp(start)}"
        assert after.id == session_id, "its id is its worker and its window's start"
        assert (from_us(after.window_start), from_us(after.window_end)) == (start, end)
        assert after.opened_at == to_us(now)
        if before is not None:
            assert after.received_note == before.handoff_note

    @rule(
        worker=a_worker,
        cost=st.integers(0, 12),
        end=st.sampled_from(["at once", "with its tick", "never"]),
    )
    def call(self, worker: str, cost: int, end: str) -> None:
        if worker not in self.world.running:
            return
        placed = self.world.place(worker)
        if isinstance(placed, Refusal):
            return
        if end != "never":
            self.world.settle(placed, cost, is_put_off=end == "with its tick")
            if cost > placed.cost_held:
                self.overran.add(worker)

    @rule(worker=a_worker, outcome=st.sampled_from(["ok", "failed", "timed_out"]), note=st.none()
          | st.text(max_size=5))  # fmt: skip
    def finish(self, worker: str, outcome: str, note: str | None) -> None:
        if worker not in self.world.running:
            return
        tick = self.world.running[worker].tick
        self.world.finish(worker, Outcome(outcome), note)
        assert (worker, tick) not in self.ended
        self.ended.add((worker, tick))

    # --- people

    @rule(worker=a_worker)
    def pause(self, worker: str) -> None:
        session = self.world.open_session(worker)
        if session is None:
            return
        if session.status is SessionStatus.ACTIVE:
            self.world.pause(session)
        else:
            with pytest.raises(IllegalMove):
                self.world.pause(session)

    @rule(worker=a_worker)
    def resume(self, worker: str) -> None:
        session = self.world.open_session(worker)
        if session is None:
            return
        if session.status is SessionStatus.PAUSED:
            self.world.resume(session)
        else:
            with pytest.raises(IllegalMove):
                self.world.resume(session)

    @rule(worker=a_worker)
    def abort(self, worker: str) -> None:
        session = self.world.open_session(worker)
        if session is None:
            return
        self.aborts += 1
        if worker in self.world.running:
            with pytest.raises(IllegalMove, match="is running in it"):
                self.world.abort(session.id, f"a{self.aborts}")
            return
        self.world.abort(session.id, f"a{self.aborts}")
        self.aborted.add(session.id)

    @rule(worker=a_worker, is_engaged=st.booleans())
    def kill_or_release(self, worker: str, is_engaged: bool) -> None:
        self.kills += 1
        done = self.world.kill(f"worker:{worker}", f"k{self.kills}", is_engaged=is_engaged)
        assert done.changed == ((worker in self.killed) != is_engaged)
        (self.killed.add if is_engaged else self.killed.discard)(worker)

    # --- lives and time

    @rule(spans=st.dictionaries(a_worker, a_span, min_size=1))
    def stop_and_start(self, spans: dict[str, int]) -> None:
        spans = self._possible(spans)
        self.world.stop()
        for session in self.world.sessions():
            assert session.status is not SessionStatus.ACTIVE or session.worker == "system"
        self._start(spans)

    @rule(spans=st.dictionaries(a_worker, a_span, min_size=1))
    def crash_and_start(self, spans: dict[str, int]) -> None:
        orphans = len(self.world.running)
        found = self._start(self._possible(spans))
        assert found == orphans

    def _possible(self, spans: dict[str, int]) -> dict[str, int]:
        if not known_gaps.WINDOWS_CAN_BE_WIDENED:
            for name, span in spans.items():
                self.narrowest[name] = min(span, self.narrowest.get(name, 86_400))
            return {name: self.narrowest[name] for name in spans}
        return spans

    def _start(self, spans: dict[str, int]) -> int:
        self.seen = max(self.seen, self.world.clock.at)
        return self.world.start(spans).ticks

    @rule(spans=st.dictionaries(a_worker, a_span, min_size=2))
    def reload(self, spans: dict[str, int]) -> None:
        spans = self._possible(spans)
        self.world.reload({name: spans[name] for name in self.world.spans})

    @rule(seconds=steps, is_back=st.booleans())
    def move_clock(self, seconds: int, is_back: bool) -> None:
        moved = self.world.clock.at + timedelta(seconds=-seconds if is_back else seconds)
        self._set_clock(moved)

    @rule(pick=st.integers(0, 3), seconds=st.sampled_from([-1, 0, 1, 1_800, 3_600]))
    def move_clock_to_a_change_of_clocks(self, pick: int, seconds: int) -> None:
        changes = wall_clock.clock_changes(self.world.zone, self.world.clock.at.year)
        if changes:
            self._set_clock(changes[pick % len(changes)] + timedelta(seconds=seconds))

    @rule(worker=a_worker)
    def move_clock_to_the_windows_end(self, worker: str) -> None:
        session = self.world.open_session(worker)
        if session is not None:
            self._set_clock(from_us(session.window_end))

    def _set_clock(self, moved: datetime) -> None:
        self.seen = max(self.seen, self.world.clock.at)
        if 2010 < moved.year < 2040:
            self.world.clock.at = moved

    # --- what must hold at any time

    @invariant()
    def sessions_are_what_their_events_say(self) -> None:
        before = {name: telling.seq for name, telling in self.world.tellings.items()}
        for row in self.world.read_events():
            assert row.session_id not in self.sealed, "an event in a sealed session"
        open_ones: set[str] = set()
        for session in self.world.sessions():
            self._check_session(session)
            if session.summary is None:
                assert session.worker not in open_ones, f"{session.worker} has two open sessions"
                open_ones.add(session.worker)
            elif session.id not in self.sealed:
                self.sealed[session.id] = (session, before.get(session.id, 0))

    def _check_session(self, session: SessionWithTotals) -> None:
        telling = self.world.tellings[session.id]
        assert (session.last_seq, session.last_hash) == (telling.seq, telling.digest)
        assert decoded(session.counters) == telling.counters
        if session.id in self.sealed:
            assert session == self.sealed[session.id][0], "a sealed session has changed"
        if session.summary is not None:
            assert decoded(session.summary) == sealed_as(telling)
            was_aborted = session.id in self.aborted
            due = SessionStatus.ABORTED if was_aborted else SessionStatus.COMPLETED
            assert session.status is due
        assert session.id == f"{session.worker}@{stamp(from_us(session.window_start))}"

    @rule()
    def prove_the_record(self) -> None:
        self.world.prove()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.prove_the_record()
            self.world.store.close()


def _start_of(sealed: tuple[SessionWithTotals, int], worker: str) -> int:
    return sealed[0].window_start if sealed[0].worker == worker else -1


def _place(session: Session | None) -> tuple[str, str] | None:
    return None if session is None else (session.id, session.status)


TestSessions = SessionsMachine.TestCase
TestSessions.settings = effort(examples=120, steps=40)
