"""Which occurrences of a cron worker run, and which are missed: in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import msgspec
import pytest

from supervisor import Glance
from supervisor.clock import VirtualClock, from_us
from supervisor.storage.database import Transaction
from supervisor.worker.context import Context
from supervisor.worker.loop import WorkerLoop
from supervisor.worker.schedule import Cron
from supervisor.worker.timetable import Busy, Choice, choose
from tests.unit.inline_database import InlineDatabase
from tests.unit.time_warp import run_warped
from tests.unit.worker.conftest import UTC_ZONE, Bench
from tests.unit.worker.loop_life import Life, waiting

HOURLY = Cron("0 * * * *", UTC_ZONE)
MINUTELY = Cron("* * * * *", UTC_ZONE)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
SPRING = {ZONES[0]: date(2026, 3, 29), ZONES[1]: date(2026, 3, 8), ZONES[2]: date(2026, 10, 4)}
AUTUMN = {ZONES[0]: date(2026, 10, 25), ZONES[1]: date(2026, 11, 1), ZONES[2]: date(2026, 4, 5)}
SWITCHES = [(zone, day) for days in (SPRING, AUTUMN) for zone, day in days.items()]


class _Event(msgspec.Struct, frozen=True):
    kind: str
    payload: str


class _Payload(msgspec.Struct, frozen=True):
    due_at: int = 0
    why: str = ""


class Story(Life):
    """A life whose store tells which occurrences ran and which were missed."""

    def __init__(self, bench: Bench, store: InlineDatabase, clock: VirtualClock) -> None:
        super().__init__(bench, store, clock)
        store.add_statement(
            "timetable_test.events",
            "SELECT kind, payload FROM events"
            " WHERE kind IN ('cycle_started', 'occurrence_missed') ORDER BY position",
        )

    def told(self) -> dict[str, list[datetime]]:
        """Return when what ran, and what was missed, was due."""
        found: dict[str, list[datetime]] = {"cycle_started": [], "occurrence_missed": []}
        for event in self.store.look(_events):
            due_at = msgspec.json.decode(event.payload, type=_Payload).due_at
            if due_at:
                found[event.kind].append(from_us(due_at))
        return found

    def ran(self) -> list[str]:
        return [f"{due:%H:%M}" for due in self.told()["cycle_started"]]

    def missed(self) -> list[str]:
        return [f"{due:%H:%M}" for due in self.told()["occurrence_missed"]]


def _events(tx: Transaction) -> list[_Event]:
    return tx.rows("timetable_test.events", _Event)


@pytest.fixture
def story(inline_store: InlineDatabase, clock: VirtualClock, tmp_path: Path) -> Story:
    return Story(Bench(inline_store, clock, tmp_path), inline_store, clock)


def asleep(story: Story, hours: float) -> Callable[[WorkerLoop], Coroutine[object, object, None]]:
    """Return what happens to a laptop that sleeps for so long from 11:30 on."""

    async def tell(_: WorkerLoop) -> None:
        await anyio.sleep(3_600)
        story.clock.step_wall(hours * 3_600)
        await anyio.sleep(3_600)

    return tell


# --- daylight saving


@pytest.mark.parametrize(("zone", "day"), SWITCHES)
@pytest.mark.parametrize("expression", ["0 0 * * *", "30 2 * * *", "0 3 * * *"])
def test_a_daily_occurrence_runs_once_on_the_day_of_a_clock_change(
    inline_store: InlineDatabase, tmp_path: Path, zone: str, day: date, expression: str
) -> None:
    ran = live_through(inline_store, tmp_path, Cron(expression, ZoneInfo(zone)), day)
    days = [due.astimezone(ZoneInfo(zone)).date() for due in ran]
    assert days == [day - timedelta(days=1), day, day + timedelta(days=1)]


@pytest.mark.parametrize(("zone", "day"), SWITCHES)
def test_each_quarter_of_an_hour_runs_once_on_the_day_of_a_clock_change(
    inline_store: InlineDatabase, tmp_path: Path, zone: str, day: date
) -> None:
    ran = live_through(inline_store, tmp_path, Cron("*/15 * * * *", ZoneInfo(zone)), day)
    local = ZoneInfo(zone)
    midnight, next_midnight = (
        datetime(one.year, one.month, one.day, tzinfo=local).astimezone(UTC)
        for one in (day, day + timedelta(days=1))
    )
    hours = (next_midnight - midnight).total_seconds() / 3_600
    on_the_day = [due for due in ran if midnight <= due < next_midnight]
    assert hours != 24
    assert len(on_the_day) == len(set(on_the_day)) == hours * 4


def live_through(store: InlineDatabase, folder: Path, schedule: Cron, day: date) -> list[datetime]:
    """Live from a day before to a day after, and return the occurrences that ran."""
    before = day - timedelta(days=1)
    noon = datetime(before.year, before.month, before.day, tzinfo=schedule.timezone)
    clock = VirtualClock(noon.astimezone(UTC) - timedelta(minutes=1))
    story = Story(Bench(store, clock, folder), store, clock)
    after = day + timedelta(days=1)
    end = datetime(after.year, after.month, after.day, 23, 30, tzinfo=schedule.timezone)
    story.live(schedule, waiting((end.astimezone(UTC) - clock.now()).total_seconds()))
    assert story.told()["occurrence_missed"] == []
    return story.told()["cycle_started"]


# --- what nobody was there to run


def test_skip_runs_none_of_the_missed_and_records_each(story: Story) -> None:
    story.live(HOURLY, asleep(story, 9))
    assert story.ran() == ["11:00", "21:00"]
    assert story.missed() == [f"{hour}:00" for hour in range(12, 21)]


def test_once_runs_the_last_of_the_missed(story: Story) -> None:
    story.live(replace(HOURLY, missed="once"), asleep(story, 9))
    assert story.ran() == ["11:00", "20:00", "21:00"]
    assert story.missed() == [f"{hour}:00" for hour in range(12, 20)]


def test_all_runs_each_that_is_not_too_late(story: Story) -> None:
    schedule = replace(HOURLY, missed="all", lateness_max_s=4 * 3_600)
    story.live(schedule, asleep(story, 9))
    assert story.ran() == ["11:00", "17:00", "18:00", "19:00", "20:00", "21:00"]
    assert story.missed() == [f"{hour}:00" for hour in range(12, 17)]


def test_what_was_missed_while_no_daemon_ran_follows_the_policy_too(story: Story) -> None:
    story.live(HOURLY, waiting(3_600))
    story.clock.advance(5 * 3_600)
    story.live(replace(HOURLY, missed="once"), waiting(3_600))
    assert story.ran() == ["11:00", "16:00", "17:00"]
    assert story.missed() == ["12:00", "13:00", "14:00", "15:00"]


def test_a_month_of_missed_minutes_is_recorded_to_the_last(story: Story) -> None:
    story.live(MINUTELY, waiting(90))
    story.clock.advance(30 * 86_400)
    story.live(MINUTELY, waiting(90))
    told = story.told()
    all_of_them = sorted(told["cycle_started"] + told["occurrence_missed"])
    assert len(all_of_them) == len(set(all_of_them))
    first, last = all_of_them[0], all_of_them[-1]
    assert len(all_of_them) == (last - first) / timedelta(minutes=1) + 1


def test_years_that_a_clock_jumps_over_are_a_month_of_records_and_one_for_the_rest(
    story: Story,
) -> None:
    # Time passes while it is recorded, as it does.
    story.store.listen(lambda _: story.clock.advance(0.001))
    story.live(replace(HOURLY, missed="once"), asleep(story, 10 * 365 * 24))
    told = story.told()
    assert 30 * 24 <= len(told["occurrence_missed"]) <= 31 * 24
    assert [f"{due:%Y %H:%M}" for due in told["cycle_started"]] == [
        "2026 11:00",
        "2036 11:00",
        "2036 12:00",
    ]


# --- what is due while a tick runs


def test_skip_records_what_was_due_while_a_tick_ran(story: Story) -> None:
    async def work(_: Context) -> None:
        await anyio.sleep(150)

    story.work = work
    story.live(MINUTELY, waiting(400))
    assert story.ran()[:2] == ["10:31", "10:34"]
    assert story.missed()[:2] == ["10:32", "10:33"]


def test_queue_runs_one_of_them_after_it(story: Story) -> None:
    async def work(_: Context) -> None:
        await anyio.sleep(150 if len(story.calls) == 1 else 1)

    story.work = work
    story.live(replace(MINUTELY, overlap="queue"), waiting(400))
    assert story.ran()[:3] == ["10:31", "10:33", "10:34"]
    assert story.missed() == ["10:32"]


def test_cancel_ends_the_tick_for_the_next_occurrence(story: Story) -> None:
    async def work(_: Context) -> None:
        await anyio.sleep(150)

    story.work = work
    story.live(replace(MINUTELY, overlap="cancel"), waiting(200))
    assert story.ran()[:3] == ["10:31", "10:32", "10:33"]
    assert story.missed() == []


# --- jitter, and the wake gate


def test_jitter_delays_each_occurrence_within_its_bound_and_loses_none(story: Story) -> None:
    story.live(replace(HOURLY, jitter_s=600.0), waiting(10 * 3_600))
    late_s = [call.minute * 60 + call.second for call in story.calls]
    assert len(late_s) == 10
    assert max(late_s) <= 600
    assert len(set(late_s)) > 5
    assert story.missed() == []


def test_a_worker_without_work_has_no_tick_and_no_record(story: Story) -> None:
    asked: list[Glance] = []

    async def has_work(glance: Glance) -> bool:
        asked.append(glance)
        return len(asked) % 3 == 0

    async def main() -> None:
        plan = replace(await story.plan(HOURLY), has_work=has_work)
        loop = WorkerLoop(story.bench.kernel, plan)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop.run)
            await anyio.sleep(6 * 3_600)
            loop.stop()

    run_warped(story.clock, main())
    assert story.ran() == ["13:00", "16:00"]
    assert story.missed() == []
    assert len(asked) == 6


def test_a_look_for_work_that_raises_counts_as_work(story: Story) -> None:
    async def has_work(_: Glance) -> bool:
        raise KeyError("inbox")

    async def main() -> None:
        plan = replace(await story.plan(HOURLY), has_work=has_work)
        loop = WorkerLoop(story.bench.kernel, plan)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop.run)
            await anyio.sleep(3_600)
            loop.stop()

    run_warped(story.clock, main())
    assert story.ran() == ["11:00"]


# --- the choice itself


@pytest.mark.parametrize(
    ("schedule", "late_s", "is_run"),
    [
        (HOURLY, 59, True),
        (HOURLY, 61, False),
        (replace(HOURLY, jitter_s=600.0), 659, True),
        (replace(HOURLY, missed="once"), 10**6, True),
        (replace(HOURLY, missed="all"), 3_600, True),
        (replace(HOURLY, missed="all"), 3_601, False),
    ],
)
def test_a_late_occurrence_runs_as_its_policy_says(
    schedule: Cron, late_s: int, is_run: bool
) -> None:
    due = datetime(2026, 6, 1, 11, tzinfo=UTC)
    choice = choose(schedule, [due], due + timedelta(seconds=late_s), None)
    assert (choice.run == due) is is_run
    assert bool(choice.missed) is not is_run


def test_what_was_due_while_it_ran_is_no_matter_of_lateness() -> None:
    due = datetime(2026, 6, 1, 11, tzinfo=UTC)
    busy = Busy(began=due - timedelta(seconds=10), ended=due + timedelta(seconds=5), lasted_s=15.0)
    schedule = replace(HOURLY, missed="all")
    choice = choose(schedule, [due], due + timedelta(seconds=5), busy)
    assert choice.run is None
    assert choice.missed[0].why == "the tick before it still ran"
    assert choose(schedule, [], due, busy) == Choice(run=None)
