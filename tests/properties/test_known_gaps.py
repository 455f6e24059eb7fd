"""The smallest reproductions of what the state machines have found and is not mended yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from supervisor.errors import storable
from supervisor.governance.kill_switch import KillCommand, engage
from supervisor.ledger.holds import Hold
from supervisor.ledger.periods import Period, period_start
from supervisor.outcome import Outcome
from supervisor.storage.database import Database
from supervisor.storage.open import open_database
from supervisor.worker.records import Ending, Started, finish_tick
from tests.databases import store_url
from tests.properties import known_gaps
from tests.properties.ledger_model import LimitKey
from tests.properties.ledger_world import AccountRow, Till
from tests.properties.session_world import World
from tests.properties.stores import Driven, Memory

UTC_ZONE = ZoneInfo("UTC")
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LIMITS: Mapping[LimitKey, int] = {
    ("system", "day", "micro_usd"): 1_000,
    ("session", "session", "micro_usd"): 1_000,
    ("session", "session", "actions"): 1_000,
}
A_DAY: LimitKey = ("worker:a", "day", "micro_usd")
A_SESSION: LimitKey = ("worker:a", "session", "micro_usd")


def gap(is_mended: bool) -> pytest.MarkDecorator:
    """Expect a test to fail until its gap is mended."""
    return pytest.mark.xfail(not is_mended, reason="known: see known_gaps.py", strict=True)


@pytest.fixture
def till() -> Iterator[Till]:
    made = Till(Memory(), UTC_ZONE, LIMITS, NOON)
    yield made
    made.store.close()


def held(till: Till, hold_id: str, cost: int) -> Hold:
    placed = till.reserve(till.request(hold_id, worker="a", model="p/x", amounts=(cost, 0, 1)))
    assert isinstance(placed, Hold)
    return placed


def account(till: Till, start: str) -> AccountRow:
    (found,) = [row for name, row in till.accounts().items() if name.startswith(start)]
    return found


@gap(known_gaps.PERIODS_BEGIN_AT_THE_FIRST_MIDNIGHT)
def test_a_day_with_two_midnights_begins_at_the_first() -> None:
    havana = ZoneInfo("America/Havana")
    second_hour = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    first_midnight = datetime(2026, 11, 1, 4, tzinfo=UTC)
    for period in (Period.DAY, Period.MONTH):
        assert period_start(period, second_hour, timezone=havana) == first_midnight


@gap(known_gaps.LIMITS_FOLLOW_THE_LEDGERS_CLOCK)
def test_a_reload_under_a_clock_that_is_ahead_lowers_the_cap_of_the_running_day(till: Till) -> None:
    held(till, "h1", 10)
    till.clock.at += timedelta(days=1)
    till.relimit({**LIMITS, ("system", "day", "micro_usd"): 100})
    till.clock.at -= timedelta(days=1)
    dear = till.reserve(till.request("h2", worker="a", model="p/x", amounts=(500, 0, 1)))
    assert not isinstance(dear, Hold), "510 under a cap of 100"


@gap(known_gaps.LIMITS_COME_BACK_WHOLE)
def test_a_limit_that_comes_back_counts_what_was_used_without_it(till: Till) -> None:
    till.relimit({**LIMITS, A_DAY: 500})
    till.settle(held(till, "h1", 10), (10, 0, 1))
    till.relimit(LIMITS)
    till.settle(held(till, "h2", 400), (400, 0, 1))
    till.relimit({**LIMITS, A_DAY: 500})
    held(till, "h3", 1)
    assert account(till, "worker:a/day").settled == 410


@gap(known_gaps.NEW_LIMITS_FOLLOW_EARLIER_HOLDS)
def test_a_limit_that_is_added_during_a_call_gives_back_what_it_did_not_use(till: Till) -> None:
    hold = held(till, "h1", 400)
    till.relimit({**LIMITS, A_DAY: 500})
    held(till, "h2", 1)
    till.settle(hold, (10, 0, 1))
    row = account(till, "worker:a/day")
    assert (row.settled, row.held) == (10, 1)


@gap(known_gaps.NEW_LIMITS_FOLLOW_EARLIER_HOLDS)
def test_a_limit_that_is_added_before_a_reconciliation_sees_it(till: Till) -> None:
    hold = held(till, "h1", 100)
    till.forfeit(hold)
    till.relimit({**LIMITS, A_DAY: 500})
    held(till, "h2", 1)
    till.reconcile(hold, 450)
    assert account(till, "worker:a/day").settled == 450


@gap(known_gaps.NEW_LIMITS_COUNT_THE_SESSION)
def test_a_session_limit_that_is_added_later_counts_the_whole_session(till: Till) -> None:
    till.settle(held(till, "h1", 400), (400, 0, 1))
    till.relimit({**LIMITS, A_SESSION: 500})
    held(till, "h2", 1)
    assert account(till, "worker:a/session").settled == 400


@gap(known_gaps.WINDOWS_CAN_BE_WIDENED)
def test_a_worker_goes_on_when_its_window_is_made_wider() -> None:
    midnight = datetime(2026, 6, 1, tzinfo=UTC)
    world = World(Memory(), UTC_ZONE, midnight)
    world.start({"a": 3_600})
    assert isinstance(world.begin("a"), Started)
    world.finish("a", Outcome.OK)
    world.clock.at += timedelta(hours=1)
    world.reload({"a": 86_400})
    assert isinstance(world.begin("a"), Started)
    world.store.close()


@gap(known_gaps.TIMEZONES_CAN_BE_CHANGED)
def test_a_restart_further_west_does_not_spend_the_same_day_twice(till: Till) -> None:
    till.settle(held(till, "h1", 10), (10, 0, 1))
    till.clock.at = datetime(2026, 6, 2, 0, 30, tzinfo=UTC)
    for worker in ("a", "b"):
        till.rotate(worker)
    till.settle(held(till, "h2", 950), (950, 0, 1))
    till.zone = ZoneInfo("America/New_York")
    till.budgets = till.budgets_for(LIMITS)
    till.start()
    again = till.reserve(till.request("h3", worker="b", model="p/x", amounts=(900, 0, 1)))
    assert not isinstance(again, Hold), "1,850 within an hour, under a cap of 1,000 a day"


def test_a_timezone_that_comes_back_counts_what_was_used_in_the_other(till: Till) -> None:
    def start_in(zone: str) -> None:
        till.zone = ZoneInfo(zone)
        till.budgets = till.budgets_for(LIMITS)
        till.start()

    till.clock.at = datetime(2026, 6, 2, 1, tzinfo=UTC)  # the 1st in New York, the 2nd in Tokyo
    start_in("America/New_York")
    till.settle(held(till, "h1", 10), (10, 0, 1))
    start_in("Asia/Tokyo")
    till.settle(held(till, "h2", 900), (900, 0, 1))
    start_in("America/New_York")
    again = till.reserve(till.request("h3", worker="b", model="p/x", amounts=(500, 0, 1)))
    assert not isinstance(again, Hold), "1,410 on one day, under a cap of 1,000"


@gap(known_gaps.POSTGRES_TAKES_A_NUL)
@pytest.mark.parametrize("where", ["why", "note", "kill"])
def test_a_nul_in_a_text_leaves_no_tick_without_end_and_no_kill_unlatched(
    where: str, tmp_path: Path, postgres_url: str
) -> None:
    async def opened() -> Database:
        url = store_url("postgres", tmp_path, postgres_url)
        return await open_database(url, state_dir=tmp_path, now_us=0)

    world = World(Driven(opened), UTC_ZONE, NOON)
    try:
        world.start({"a": 3_600})
        begun = world.begin("a")
        assert isinstance(begun, Started)
        if where == "kill":
            kill = KillCommand(scope="system", why="x\0y")
            world.store.write(engage, kill, world.origin("k1"), UTC_ZONE)
            return
        ending = Ending(
            worker="a",
            tick=begun.tick,
            session_id=begun.session.id,
            outcome=Outcome.FAILED,
            duration_s=1.0,
            checkpoint_every=5,
            why=storable("bad \0 byte") if where == "why" else "",
            handoff_note="a note\0" if where == "note" else None,
        )
        assert world.store.write(finish_tick, ending, world.origin())
    finally:
        world.store.close()
