"""A worker's loop: when it ticks, what it waits for, and that it never runs hot."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import pytest

from supervisor.clock import VirtualClock
from supervisor.errors import StoreUnavailable
from supervisor.worker.context import Context
from supervisor.worker.loop import WorkerLoop
from supervisor.worker.schedule import Cron, Every
from supervisor.worker.tick import WorkerCrashed
from tests.unit.inline_database import InlineDatabase
from tests.unit.time_warp import run_warped
from tests.unit.worker.conftest import UTC_ZONE, Bench
from tests.unit.worker.loop_life import DAY_S, Life, waiting


@pytest.fixture
def life(inline_store: InlineDatabase, clock: VirtualClock, tmp_path: Path) -> Life:
    return Life(Bench(inline_store, clock, tmp_path), inline_store, clock)


def test_a_fixed_delay_counts_from_the_end_of_a_tick(life: Life) -> None:
    async def work(_: Context) -> None:
        await anyio.sleep(3)

    life.work = work
    life.live(Every(10.0), waiting(35))
    assert life.waits_s() == pytest.approx([0, 13, 13])


def test_a_long_wait_is_exact(life: Life) -> None:
    life.live(Every(1_000.0), waiting(2_500))
    assert life.waits_s() == pytest.approx([0, 1_000, 1_000])


def test_cron_waits_for_its_time_also_the_first(life: Life) -> None:
    life.live(Cron("0 * * * *", UTC_ZONE), waiting(3 * 3600))
    assert [call.strftime("%H:%M:%S") for call in life.calls] == [
        "11:00:00",
        "12:00:00",
        "13:00:00",
    ]


def test_a_loop_that_is_stopped_while_it_waits_ends_at_once(life: Life) -> None:
    life.live(Every(DAY_S), waiting(5))
    assert life.clock.monotonic() == pytest.approx(5.0)


def test_a_loop_that_is_stopped_in_a_tick_ends_with_it(life: Life) -> None:
    async def work(_: Context) -> None:
        await anyio.sleep(60)

    life.work = work
    life.live(Every(1.0), waiting(5))
    assert life.clock.monotonic() == pytest.approx(60.0)
    assert len(life.calls) == 1


def test_a_loop_that_is_stopped_before_its_first_tick_never_ticks(life: Life) -> None:
    life.live(Cron("0 0 * * *", UTC_ZONE), waiting(5))
    assert life.calls == []


def test_a_crash_leaves_the_loop_and_running_it_again_ticks_at_once(life: Life) -> None:
    async def work(_: Context) -> None:
        raise ValueError("no")

    life.work = work

    async def main() -> None:
        loop = WorkerLoop(life.bench.kernel, await life.plan(Every(60.0)))
        for _ in range(2):
            with pytest.raises(WorkerCrashed):
                await loop.run()

    run_warped(life.clock, main())
    assert life.waits_s() == [0, 0]


def test_a_store_that_fails_is_a_no_that_is_tried_again_and_not_a_crash(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(5)
        life.store.failures = 3
        await anyio.sleep(60)

    life.live(Every(0.2), story)
    gaps = [wait for wait in life.waits_s() if wait > 0.5]
    assert gaps == pytest.approx([3.2], abs=0.01)


def test_a_store_that_never_answers_is_not_asked_in_a_hot_loop(life: Life) -> None:
    asked: list[float] = []

    async def story(_: WorkerLoop) -> None:
        write = life.store.write

        def down(*_args: object, **_kwargs: object) -> object:
            asked.append(life.clock.monotonic())
            raise StoreUnavailable(subject="store", what="is down", fix="wait")

        life.store.write = down  # type: ignore[assignment, method-assign] # it is down
        await anyio.sleep(60)
        life.store.write = write  # type: ignore[method-assign] # it is up

    life.live(Every(0.001), story)
    assert 50 <= len(asked) <= 61


def test_a_changed_schedule_begins_with_a_tick_now(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(100)
        loop.replace(replace(loop.plan, schedule=Every(50.0)))
        await anyio.sleep(60)

    life.live(Every(1_000.0), story)
    assert life.waits_s() == pytest.approx([0, 100, 50])


def test_an_unchanged_plan_disturbs_nothing(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(100)
        loop.replace(replace(loop.plan, tick_timeout_s=1.0))
        await anyio.sleep(100)

    life.live(Every(1_000.0), story)
    assert life.waits_s() == [0]


def test_a_wall_clock_that_is_set_forward_ends_a_wait_within_a_slice(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(10)
        life.clock.step_wall(DAY_S)
        await anyio.sleep(31)
        assert len(life.calls) == 2

    life.live(Every(3_600.0), story)


def test_a_wall_clock_that_is_set_back_lengthens_no_wait(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(10)
        life.clock.step_wall(-DAY_S)
        await anyio.sleep(95)
        assert len(life.calls) == 2

    life.live(Every(100.0), story)


def test_a_set_wall_clock_is_no_busy_loop(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        for step_s in (-3_600, 7_200, -DAY_S, DAY_S):
            await anyio.sleep(100)
            life.clock.step_wall(step_s)
        await anyio.sleep(100)

    life.live(Every(50.0), story)
    assert len(life.calls) <= 10 + 4


@pytest.mark.parametrize("step_s", [-1.0, -600.0, -3_600.0])
def test_a_cron_occurrence_runs_once_also_when_the_clock_is_set_back(
    life: Life, step_s: float
) -> None:
    # 10:45 is set back to before: cron waits for its hour on the wall clock.
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(900)
        life.clock.step_wall(step_s)
        await anyio.sleep(900 - step_s + 60)

    life.live(Cron("0 11 * * *", UTC_ZONE), story)
    assert [call.strftime("%H:%M") for call in life.calls] == ["11:00"]


def test_a_wall_clock_that_runs_slow_does_not_make_an_occurrence_run_twice(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        for _second in range(30):
            await anyio.sleep(60)
            life.clock.step_wall(-0.001)
        await anyio.sleep(60)

    life.live(Cron("0 11 * * *", UTC_ZONE), story)
    assert len(life.calls) == 1


def test_a_changed_cron_forgets_when_the_old_one_was_due(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(600)
        loop.replace(replace(loop.plan, schedule=Cron("0 * * * *", UTC_ZONE)))
        await anyio.sleep(2 * 3_600)

    life.live(Cron("0 0 1 1 *", UTC_ZONE), story)
    assert [call.strftime("%H:%M") for call in life.calls] == ["10:40", "11:00", "12:00"]


def test_a_cron_worker_in_the_hour_that_comes_twice_is_no_busy_loop(
    inline_store: InlineDatabase, tmp_path: Path
) -> None:
    clock = VirtualClock(datetime(2026, 10, 25, 1, 10, tzinfo=UTC))
    life = Life(Bench(inline_store, clock, tmp_path), inline_store, clock)

    async def work(_: Context) -> None:
        assert len(life.calls) < 5, "a busy loop"

    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(3_600)

    life.work = work
    life.live(Cron("30 2 * * *", ZoneInfo("Europe/Berlin")), story)
    assert life.calls == []
    assert life.clock.now() == datetime(2026, 10, 25, 1, 10, tzinfo=UTC) + timedelta(hours=1)
