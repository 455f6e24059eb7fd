"""Who is alive and who makes progress, as committed events tell it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from supervisor.clock import VirtualClock, to_us
from supervisor.events import kinds
from supervisor.maintenance.vitals import Vitals
from supervisor.storage.database import Transaction
from tests.conftest import START
from tests.unit.inline_database import InlineDatabase
from tests.unit.maintenance.conftest import Fact

STARTED = kinds.CycleStarted(worker="a", tick=7)
OK = kinds.CycleCompleted(worker="a", tick=7, outcome="ok", duration_s=0.5)
SKIPPED = kinds.CycleSkipped(worker="a", tick=7, code="kill_switch_engaged", why="x")
RECOVERED = kinds.CycleRecovered(worker="a", tick=7, boot_id="boot-1")
CRASHED = kinds.WorkerCrashed(worker="a", error="x", restart_in_s=0.01)
FAILED = kinds.WorkerFailed(worker="a", crashes=4, window_s=60.0, error="x")


@pytest.fixture
def vitals(clock: VirtualClock) -> Vitals:
    return Vitals({"a": 120.0, "b": 5.0}, clock)


def test_a_tick_that_runs_is_seen_with_its_session(vitals: Vitals, fact: Fact) -> None:
    vitals.follow([fact(STARTED)])
    seen = vitals.workers["a"]
    assert (seen.last_tick, seen.session_id) == (7, "a@2026-06-01T10:00Z")
    assert seen.running_since_s == 0.0
    assert seen.last_progress_at is None


@pytest.mark.parametrize(
    ("event", "outcome"), [(OK, "ok"), (SKIPPED, "skipped"), (RECOVERED, "recovered")]
)
def test_every_end_of_a_tick_is_progress(
    vitals: Vitals, fact: Fact, clock: VirtualClock, event: kinds.Event, outcome: str
) -> None:
    vitals.follow([fact(STARTED)])
    clock.advance(3)
    vitals.follow([fact(event)])
    seen = vitals.workers["a"]
    assert (seen.outcome, seen.last_tick, seen.running_since_s) == (outcome, 7, None)
    assert seen.last_progress_at == START + timedelta(seconds=3)


def test_other_workers_and_other_facts_change_nothing(vitals: Vitals, fact: Fact) -> None:
    stranger = kinds.CycleStarted(worker="stranger", tick=1)
    vitals.follow([fact(stranger), "no event", fact(kinds.DaemonStarted(boot_id="b", version="1"))])
    assert set(vitals.workers) == {"a", "b"}
    assert vitals.workers["a"].last_tick == 0


def test_a_crashed_worker_restarts_and_runs_again_with_its_next_tick(
    vitals: Vitals, fact: Fact
) -> None:
    vitals.follow([fact(CRASHED)])
    assert vitals.workers["a"].life == "restarting"
    vitals.follow([fact(STARTED)])
    assert vitals.workers["a"].life == "running"


def test_a_worker_whose_next_tick_is_skipped_has_restarted_too(vitals: Vitals, fact: Fact) -> None:
    vitals.follow([fact(CRASHED), fact(SKIPPED)])
    assert vitals.workers["a"].life == "running"


def test_a_failed_worker_is_trouble(vitals: Vitals, fact: Fact) -> None:
    vitals.follow([fact(FAILED)])
    assert vitals.workers["a"].life == "failed"
    assert vitals.troubles() == ["worker a has failed"]


def test_a_tick_is_stuck_ten_seconds_after_its_timeout_and_not_before(
    vitals: Vitals, fact: Fact, clock: VirtualClock
) -> None:
    vitals.follow([fact(STARTED)])
    clock.advance(130)
    assert vitals.troubles() == []
    clock.advance(0.001)
    assert vitals.troubles() == ["worker a is stuck in tick 7"]
    vitals.follow([fact(OK)])
    assert vitals.troubles() == []


def test_a_worker_that_waits_is_no_trouble(vitals: Vitals, fact: Fact, clock: VirtualClock) -> None:
    vitals.follow([fact(STARTED), fact(OK)])
    clock.advance(10**7)
    assert vitals.troubles() == []


def test_a_changed_config_keeps_what_is_known_of_the_workers_that_stay(
    vitals: Vitals, fact: Fact, clock: VirtualClock
) -> None:
    vitals.follow([fact(STARTED)])
    vitals.expect({"a": 1.0, "c": 9.0})
    assert set(vitals.workers) == {"a", "c"}
    assert vitals.workers["a"].last_tick == 7
    clock.advance(12)
    assert vitals.troubles() == ["worker a is stuck in tick 7"]


def test_the_heartbeat_has_every_worker(vitals: Vitals, fact: Fact) -> None:
    vitals.follow([fact(STARTED), fact(OK)])
    assert vitals.as_heartbeat() == {
        "a": {
            "last_progress_at": "2026-06-01T10:30:00Z",
            "last_tick": 7,
            "outcome": "ok",
            "session_id": "a@2026-06-01T10:00Z",
        },
        "b": {"last_progress_at": None, "last_tick": 0, "outcome": "", "session_id": ""},
    }


def test_a_worker_fails_from_its_first_bad_tick_until_a_good_one(
    vitals: Vitals, fact: Fact
) -> None:
    for outcome in ("failed", "refused", "timed_out"):
        bad = kinds.CycleCompleted(worker="a", tick=7, outcome=outcome, duration_s=1, why=outcome)
        vitals.follow([fact(bad)])
        assert vitals.workers["a"].failing_since is not None
    assert vitals.workers["a"].why == "timed_out"
    vitals.follow([fact(OK)])
    assert vitals.workers["a"].failing_since is None


def remember(tx: Transaction) -> None:
    for name in ("a", "stranger"):
        tx.run("workers.register", name=name, life="running")
        tx.run("workers.count_tick", name=name, session_id=None, number=1)
        tx.run("workers.skipped", name=name, now=to_us(START))


async def test_what_earlier_lives_recorded_is_taken_up(
    vitals: Vitals, inline_store: InlineDatabase
) -> None:
    await inline_store.write(remember)
    await inline_store.read(vitals.load)
    seen = vitals.workers["a"]
    assert (seen.last_tick, seen.outcome, seen.last_progress_at) == (1, "skipped", START)
    assert set(vitals.workers) == {"a", "b"}
