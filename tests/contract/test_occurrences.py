"""Each occurrence is taken once, whoever wants it, and what is missed is on record."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from supervisor.clock import VirtualClock, to_us
from supervisor.events.log import Origin
from supervisor.storage.database import Database
from supervisor.worker.occurrences import Claim, Missed, give_up, open_schedule, take
from tests.contract.site import Site
from tests.databases import RawConnection

ZONE = ZoneInfo("UTC")
HOURLY = "0 * * * * UTC"


def claim(before: datetime, due: datetime, schedule: str = HOURLY) -> Claim:
    return Claim(schedule=schedule, before=to_us(before), due=to_us(due))


async def test_of_two_daemons_that_want_an_occurrence_one_takes_it(
    database: Database, site: Site, clock: VirtualClock
) -> None:
    other = await site.open()
    now = clock.now()
    before = await database.write(open_schedule, "w", HOURLY, now)
    assert await other.write(open_schedule, "w", HOURLY, now) == before
    wanted = claim(before, now + timedelta(hours=1))
    taken = [await one.write(take, "w", wanted) for one in (database, other, database)]
    assert taken == [True, False, False]
    assert await other.write(open_schedule, "w", HOURLY, now) == now + timedelta(hours=1)
    await other.close()


async def test_an_occurrence_before_the_last_one_is_not_taken_again(
    database: Database, clock: VirtualClock
) -> None:
    before = await database.write(open_schedule, "w", HOURLY, clock.now())
    later = before + timedelta(hours=2)
    assert await database.write(take, "w", claim(before, later))
    assert not await database.write(take, "w", claim(later, before + timedelta(hours=1)))
    assert not await database.write(take, "w", claim(later, later))


async def test_another_expression_begins_anew_and_the_same_goes_on(
    database: Database, clock: VirtualClock
) -> None:
    await database.write(open_schedule, "w", HOURLY, clock.now())
    began = clock.now()
    clock.advance(10_000)
    assert await database.write(open_schedule, "w", HOURLY, clock.now()) == began
    assert await database.write(open_schedule, "w", "0 6 * * * UTC", clock.now()) == clock.now()


async def test_a_clock_that_was_years_ahead_makes_nobody_wait_for_them(
    database: Database, clock: VirtualClock
) -> None:
    years = clock.now() + timedelta(days=3_650)
    await database.write(open_schedule, "w", HOURLY, years)
    assert await database.write(open_schedule, "w", HOURLY, clock.now()) == clock.now()


async def test_a_clock_that_goes_back_an_hour_runs_nothing_twice(
    database: Database, clock: VirtualClock
) -> None:
    taken = await database.write(open_schedule, "w", HOURLY, clock.now())
    clock.step_wall(-3_600)
    assert await database.write(open_schedule, "w", HOURLY, clock.now()) == taken


async def test_every_missed_occurrence_is_on_record_and_only_once(
    database: Database, raw: RawConnection, clock: VirtualClock
) -> None:
    before = await database.write(open_schedule, "w", HOURLY, clock.now())
    hours = [before + timedelta(hours=hour) for hour in range(1, 4)]
    missed = [Missed(due=hour, why="nobody was there") for hour in hours]
    origin = Origin(at=clock.now(), actor="worker:w")
    given_up = claim(before, hours[-1])
    assert await database.write(give_up, "w", given_up, missed, origin, ZONE)
    assert not await database.write(give_up, "w", given_up, missed, origin, ZONE)
    rows = raw.rows("SELECT kind FROM events WHERE kind LIKE 'occurrence%'")
    assert rows == [("occurrence_missed",)] * 3
