"""A cron worker whose machine's clock is set, or which sleeps, at an awkward moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from supervisor.clock import VirtualClock
from supervisor.worker.context import Context
from supervisor.worker.loop import WorkerLoop
from supervisor.worker.schedule import Cron, Every
from tests.unit.inline_database import InlineDatabase
from tests.unit.worker.conftest import Bench
from tests.unit.worker.loop_life import waiting
from tests.unit.worker.test_timetable import HOURLY, Story

_HOUR_S = 3_600.0
_DAY_S = 86_400.0


@pytest.fixture
def story(inline_store: InlineDatabase, clock: VirtualClock, tmp_path: Path) -> Story:
    return Story(Bench(inline_store, clock, tmp_path), inline_store, clock)


# --- set back


@pytest.mark.parametrize("days", [2, 40, 3_650])
def test_a_clock_that_is_set_back_by_days_stalls_nothing(story: Story, days: int) -> None:
    async def tell(_: WorkerLoop) -> None:
        await anyio.sleep(2 * _HOUR_S)
        story.clock.step_wall(-days * _DAY_S)
        await anyio.sleep(3 * _HOUR_S)

    story.live(HOURLY, tell)
    assert story.ran() == ["11:00", "12:00", "13:00", "14:00", "15:00"]
    assert story.missed() == []


def test_it_stalls_nothing_during_a_tick_nor_before_the_first_one(story: Story) -> None:
    async def work(_: Context) -> None:
        if len(story.calls) == 1:
            story.clock.step_wall(-2 * _DAY_S)

    async def tell(_: WorkerLoop) -> None:
        await anyio.sleep(60)
        story.clock.step_wall(-2 * _DAY_S)
        await anyio.sleep(3 * _HOUR_S)

    story.work = work
    story.live(HOURLY, tell)
    assert story.ran() == ["11:00", "12:00", "13:00"]
    days = [f"{due:%m-%d}" for due in story.told()["cycle_started"]]
    assert days == ["05-30", "05-28", "05-28"]


def test_a_clock_that_is_set_back_by_hours_runs_nothing_twice(story: Story) -> None:
    async def tell(_: WorkerLoop) -> None:
        await anyio.sleep(2 * _HOUR_S)
        story.clock.step_wall(-20 * _HOUR_S)
        await anyio.sleep(22 * _HOUR_S)

    story.live(HOURLY, tell)
    due = story.told()["cycle_started"]
    assert len(due) == len(set(due)) == 4
    assert story.ran() == ["11:00", "12:00", "13:00", "14:00"]


def test_a_clock_that_was_years_ahead_and_is_put_right_goes_on_at_the_next_hour(
    story: Story,
) -> None:
    async def tell(_: WorkerLoop) -> None:
        await anyio.sleep(_HOUR_S)
        story.clock.step_wall(10 * 365 * _DAY_S)
        await anyio.sleep(_HOUR_S)
        story.clock.step_wall(-10 * 365 * _DAY_S)
        await anyio.sleep(2 * _HOUR_S)

    # Time passes while it is recorded, as it does.
    story.store.listen(lambda _: story.clock.advance(0.001))
    story.live(replace(HOURLY, missed="once"), tell)
    assert [due.year for due in story.told()["cycle_started"]] == [2026, 2036, 2036, 2026, 2026]


# --- asleep while a tick runs


@pytest.mark.parametrize(
    ("schedule", "ran", "missed"),
    [
        (HOURLY, ["11:00", "21:00"], range(12, 21)),
        (replace(HOURLY, missed="once"), ["11:00", "20:00", "21:00"], range(12, 20)),
        (
            replace(HOURLY, missed="all", lateness_max_s=3.5 * _HOUR_S),
            ["11:00", "17:00", "18:00", "19:00", "20:00", "21:00"],
            range(12, 17),
        ),
    ],
    ids=["skip", "once", "all"],
)
def test_a_laptop_that_slept_within_a_tick_follows_the_policy_for_what_was_missed(
    story: Story, schedule: Cron, ran: list[str], missed: range
) -> None:
    async def work(_: Context) -> None:
        if len(story.calls) == 1:
            await anyio.sleep(60)
            story.clock.step_wall(9 * _HOUR_S)
            await anyio.sleep(60)

    story.work = work
    story.live(schedule, waiting(1.6 * _HOUR_S))
    assert story.ran() == ran
    assert story.missed() == [f"{hour}:00" for hour in missed]


def test_what_was_due_before_a_clock_went_back_within_a_tick_is_no_overlap(story: Story) -> None:
    async def work(_: Context) -> None:
        if len(story.calls) == 1:
            await anyio.sleep(90 * 60)
            story.clock.step_wall(-_HOUR_S)

    story.work = work
    story.live(HOURLY, waiting(4 * _HOUR_S))
    assert story.ran() == ["11:00", "12:00", "13:00"]
    assert story.missed() == []


# --- spans


def test_a_span_counts_on_its_own_clock_and_a_sleep_is_over_within_a_slice(story: Story) -> None:
    at_s: list[float] = []

    async def work(_: Context) -> None:
        at_s.append(story.clock.monotonic())

    async def tell(_: WorkerLoop) -> None:
        await anyio.sleep(1_505)
        story.clock.step_wall(9 * _HOUR_S)
        await anyio.sleep(1_500)
        story.clock.step_wall(-3 * _DAY_S)
        await anyio.sleep(1_000)

    story.work = work
    story.live(Every(1_000.0), tell)
    assert at_s[:2] == [0.0, 1_000.0]
    assert 1_505.0 <= at_s[2] <= 1_535.0
    assert [moment - at_s[2] for moment in at_s[2:]] == [0.0, 1_000.0, 2_000.0]
    assert story.missed() == []
