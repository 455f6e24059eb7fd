"""Breakers of workers, providers and all at once against a model (requirement L8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from supervisor.errors import BreakerOpen, NotFound, Refusal
from supervisor.ledger.holds import Hold
from supervisor.outcome import Outcome
from supervisor.worker.placing import AskAsProbe, Granted, WaitForProbe
from supervisor.worker.records import Started
from tests.properties.breaker_model import BreakerModel, ModelBreaker, ModelCall, Verdict
from tests.properties.breaker_world import REPEATS_MAX, BreakerWorld
from tests.properties.effort import effort
from tests.properties.stores import Memory, Store

pytestmark = pytest.mark.timeout(3_600)

WORKERS = ("a", "b", "c")
PROVIDERS = ("p", "q")
NAMES = (*(f"worker:{name}" for name in WORKERS), *(f"provider:{name}" for name in PROVIDERS))
a_worker = st.sampled_from(WORKERS)
#: A call of no model has no provider.
a_provider = st.sampled_from((*PROVIDERS, ""))
a_name = st.sampled_from((*NAMES, "system"))
a_verdict: st.SearchStrategy[Verdict] = st.sampled_from(
    ["good", "failed", "failed", "turned down", "none"]
)
ALARMS = ("", "", "", "", "dear", "repeated")
#: Few of each: what is opened and closed from outside leaves little to happen by itself.
TRIPS_MAX = COMMANDS_MAX = RESTARTS_MAX = 3
_VERDICTS: dict[Outcome, Verdict] = {
    Outcome.OK: "good",
    Outcome.NOOP: "good",
    Outcome.FAILED: "failed",
    Outcome.TIMED_OUT: "failed",
    Outcome.UNKNOWN: "none",
    Outcome.REFUSED: "none",
    Outcome.CANCELLED: "none",
}
an_outcome = st.sampled_from([*_VERDICTS, Outcome.FAILED, Outcome.FAILED, Outcome.FAILED])


class BreakersMachine(RuleBasedStateMachine):
    """Ticks and calls that fail and succeed, probes, restarts, odd clocks, and a person."""

    def __init__(self) -> None:
        super().__init__()
        self.model = BreakerModel()
        self.holds: dict[str, Hold] = {}
        self.seen: set[tuple[str, int]] = set()
        self.commands = self.asked = self.trips = self.restarts = 0

    def opened(self) -> Store:
        return Memory()

    @initialize()
    def begin(self) -> None:
        start = datetime(2026, 6, 1, 10, 5, tzinfo=UTC)
        self.world = BreakerWorld(self.opened(), ZoneInfo("UTC"), start)
        self.world.watched = set()
        self.world.start(dict.fromkeys(WORKERS, 86_400))

    @property
    def now_s(self) -> int:
        return self.world.now_s()

    # --- ticks and calls

    @precondition(lambda self: len(self.world.running) < len(WORKERS))
    @rule(pick=st.integers(0, 2))
    def begin_a_tick(self, pick: int) -> None:
        idle = [name for name in WORKERS if name not in self.world.running]
        self._begin(idle[pick % len(idle)])

    def _begin(self, worker: str) -> None:
        refusing = [one.name for one in self.model.refusing(worker, self.now_s)]
        is_noisy = self.model.is_noisy(worker)
        begun = self.world.begin(worker)
        if isinstance(begun, Started):
            assert not refusing, f"a tick began past {refusing}"
            tick = (worker, begun.tick)
            self._see(tick, is_noisy=is_noisy)
            self.model.begin(tick, self.now_s)
        elif isinstance(begun.refusal, BreakerOpen):
            assert begun.refusal.name in refusing, f"a phantom refusal: {begun.refusal}"

    def _see(self, tick: tuple[str, int], *, is_noisy: bool) -> None:
        if is_noisy:
            self.seen.add(tick)

    @precondition(lambda self: self.world.running)
    @rule(
        who=st.integers(0, 2),
        provider=a_provider,
        pick=st.integers(0, 4),
        is_cheapest=st.booleans(),
    )
    def call(self, who: int, provider: str, pick: int, is_cheapest: bool) -> None:
        self._call(self._one_that_runs(who), provider, pick, is_cheapest=is_cheapest)

    def _one_that_runs(self, who: int) -> str:
        running = sorted(self.world.running)
        return running[who % len(running)]

    def _call(self, worker: str, provider: str, pick: int, *, is_cheapest: bool) -> None:
        tick = (worker, self.world.running[worker].tick)
        mine = [call.hold for call in self.model.calls.values() if call.tick == tick]
        self.asked += 1
        call = ModelCall(
            hold=f"{worker}#{tick[1]}.{self.asked}",
            tick=tick,
            provider=provider,
            # A part of another call of the tick, or, more often, of none.
            inside=mine[pick] if pick < len(mine) else "",
        )
        refusing = [one.name for one in self.model.refusing(worker, self.now_s, call)]
        is_probe = bool(self.model.probed_by(worker, call))
        is_noisy = self.model.is_noisy(worker, call)
        placed = self.world.ask(call, is_cheapest=is_cheapest)
        if isinstance(placed, AskAsProbe):
            assert is_probe
            assert not refusing
            assert not is_cheapest
            placed = self.world.ask(call, is_cheapest=True)
        if isinstance(placed, Granted):
            assert not refusing, f"a call was placed past {refusing}"
            assert placed.is_probe == is_probe
            self._see(tick, is_noisy=is_noisy)
            self.model.place(call, self.now_s)
            self.holds[call.hold] = placed.hold
            return
        if isinstance(placed, WaitForProbe):
            assert placed.hold in mine, "only a call of the same tick is soon known"
        elif isinstance(placed, BreakerOpen):
            assert placed.name in refusing, f"a phantom refusal: {placed}"
            self._see(tick, is_noisy=True)
        assert not isinstance(placed, Refusal) or isinstance(placed, BreakerOpen), placed
        assert refusing

    @precondition(lambda self: self.model.calls)
    @rule(pick=st.integers(0, 5), verdict=a_verdict, alarm=st.sampled_from(ALARMS))
    def end_a_call(self, pick: int, verdict: Verdict, alarm: str) -> None:
        call = list(self.model.calls.values())[pick % len(self.model.calls)]
        self._end(call, verdict, alarm=alarm)

    def _end(self, call: ModelCall, verdict: Verdict, *, alarm: str = "") -> None:
        is_good = verdict == "good"
        is_dear = alarm == "dear" and is_good
        repeats = REPEATS_MAX if alarm == "repeated" and is_good else 1
        before = self._failures()
        is_certain = is_good and call.hold in self.world.watched
        self.world.end(self.holds[call.hold], verdict, is_dear=is_dear, repeats=repeats)
        is_alarming = is_dear or repeats == REPEATS_MAX
        self.model.end_call(call.hold, verdict, self.now_s, is_alarming=is_alarming)
        if is_good and not is_certain:
            self._accept_what_began_before_the_failures(before)

    @precondition(lambda self: self.world.running)
    @rule(who=st.integers(0, 2), outcome=an_outcome, is_crash=st.booleans())
    def finish(self, who: int, outcome: Outcome, is_crash: bool) -> None:
        self._finish(self._one_that_runs(who), outcome, is_crash=is_crash)

    @rule(
        worker=a_worker,
        provider=a_provider,
        verdict=a_verdict,
        end=st.none() | an_outcome,
        is_crash=st.booleans(),
        calls=st.integers(0, 2),
    )
    def tick(
        self,
        worker: str,
        provider: str,
        verdict: Verdict,
        end: Outcome | None,
        is_crash: bool,
        calls: int,
    ) -> None:
        """Run a tick, to its end or not, with some calls, one inside the other, that end alike."""
        if worker not in self.world.running:
            self._begin(worker)
        if worker not in self.world.running:
            return
        before = set(self.model.calls)
        for _ in range(calls):
            self._call(worker, provider, 0, is_cheapest=False)
        for hold in reversed([hold for hold in self.model.calls if hold not in before]):
            self._end(self.model.calls[hold], verdict)
        if end is not None:
            self._finish(worker, end, is_crash=is_crash)

    def _finish(self, worker: str, outcome: Outcome, *, is_crash: bool) -> None:
        tick = (worker, self.world.running[worker].tick)
        is_crash = is_crash and outcome is Outcome.FAILED
        before, is_certain = self._failures(), tick in self.seen
        self.world.finish_as(worker, outcome, is_crash=is_crash)
        verdict: Verdict = "crashed" if is_crash else _VERDICTS[outcome]
        self.model.end_tick(tick, verdict, self.now_s)
        if verdict == "good" and not is_certain:
            self._accept_what_began_before_the_failures(before)

    def _failures(self) -> dict[str, int]:
        return {name: one.failures for name, one in self.model.breakers.items()}

    def _accept_what_began_before_the_failures(self, before: dict[str, int]) -> None:
        """Let a success that began while nothing had failed yet say nothing of failures since."""
        for name, stored in self.world.breakers().items():
            mine = self.model.find(name)
            if mine.failures == 0 and stored.failures == before.get(name, 0):
                mine.failures = stored.failures

    # --- the watch of spending, people, lives, time

    @precondition(lambda self: self.trips < TRIPS_MAX)
    @rule(name=a_name)
    def spend_too_fast(self, name: str) -> None:
        self.trips += 1
        mine = self.model.find(name)
        assert self.world.trip(name) == (mine.state == "closed")
        if mine.state == "closed":
            mine.open(self.now_s)

    @precondition(lambda self: self.commands < COMMANDS_MAX)
    @rule(name=a_name)
    def close_by_hand(self, name: str) -> None:
        self.commands += 1
        if name not in self.world.breakers():
            with pytest.raises(NotFound):
                self.world.close_by_hand(name, f"c{self.commands}")
            return
        before = self.model.find(name)
        done = self.world.close_by_hand(name, f"c{self.commands}")
        assert done.changed == (before.state != "closed")
        if before.state != "closed":
            self.model.breakers[name] = ModelBreaker(name, changed_s=self.now_s)
        before.failures = 0

    @precondition(lambda self: self.restarts < RESTARTS_MAX)
    @rule(is_clean=st.booleans())
    def restart(self, is_clean: bool) -> None:
        self.restarts += 1
        spans = self.world.spans
        if is_clean:
            for worker in list(self.world.running):
                self._finish(worker, Outcome.CANCELLED, is_crash=False)
            self.world.stop()
        self.world.start(spans)
        self.world.watched.clear()
        self.model.cut_off_all()

    @rule(seconds=st.sampled_from([1, 30, 299, 300, 600, 1_199, 1_200, 7_200, -1, -400, -7_200]))
    def move_clock(self, seconds: int) -> None:
        self.world.clock.at += timedelta(seconds=seconds)

    @precondition(lambda self: self._open_ones())
    @rule(pick=st.integers(0, 5), seconds=st.sampled_from([-1, 0, 1]))
    def move_clock_to_a_cooldowns_end(self, pick: int, seconds: int) -> None:
        found = self._open_ones()
        due_s = found[pick % len(found)].retry_s + seconds
        self.world.clock.at = datetime.fromtimestamp(due_s, UTC)

    def _open_ones(self) -> list[ModelBreaker]:
        return [one for one in self.model.breakers.values() if one.state == "open"]

    # --- what must hold at any time

    @invariant()
    def what_is_stored_is_what_happened(self) -> None:
        """Also over a restart: nothing of it is kept anywhere else."""
        stored = self.world.breakers()
        for name, mine in self.model.breakers.items():
            one = stored.pop(name, None)
            if one is None:
                assert (mine.state, mine.failures, mine.openings) == ("closed", 0, 0), name
                continue
            told = (one.state, one.failures, one.openings)
            assert told == (mine.state, mine.failures, mine.openings), name
            moments = (one.changed_at, one.retry_at)
            assert moments == (mine.changed_s * 1_000_000, mine.retry_s * 1_000_000), name
            is_alive = mine.state == "half_open" and self.model.is_alive(mine)
            assert (mine.state == "half_open" and one.is_probe_alive) == is_alive, name
        assert not stored, f"breakers of nothing that happened: {stored}"

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.prove()
            self.world.store.close()


TestBreakers = BreakersMachine.TestCase
TestBreakers.settings = effort(examples=250, steps=50)
