"""Children: restarted with backoff, and given up on with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import anyio
import pytest

from supervisor.clock import SystemClock, VirtualClock
from supervisor.supervision import ChildGivenUp, Crash, Intensity, OnGivingUp, Supervision
from tests.unit.nursery import CHANCE, INTENSITY, Broken, Nursery, child, crashing
from tests.unit.time_warp import run_warped


def test_a_crashed_child_starts_again_soon_and_then_ever_later(nursery: Nursery) -> None:
    started: list[float] = []

    async def main() -> None:
        async with nursery.open() as supervision:
            supervision.start(child(crashing(at=started, clock=nursery.clock)))
            await anyio.sleep(100)

    run_warped(nursery.clock, main())
    waits = [crash.restart_in_s for crash in nursery.crashes]
    assert [later - earlier for earlier, later in pairwise(started)] == (pytest.approx(waits[:-1]))
    assert started[1] <= 0.011
    steps_s = (0.01, 0.04, 0.16)
    for wait_s, step_s in zip(waits, steps_s, strict=False):
        assert wait_s is not None
        assert step_s / 2 <= wait_s <= step_s


def test_more_crashes_than_allowed_in_the_window_end_the_restarts(nursery: Nursery) -> None:
    started: list[float] = []

    async def main() -> None:
        async with nursery.open() as supervision:
            supervision.start(child(crashing(at=started, clock=nursery.clock)))
            supervision.start(nursery.obedient("other"))
            await anyio.sleep(10_000)
            await supervision.stop()

    run_warped(nursery.clock, main())
    assert len(started) == INTENSITY.restarts_max + 1
    last = nursery.crashes[-1]
    assert (last.child, last.crashes, last.restart_in_s) == ("c", 4, None)
    assert isinstance(last.error, Broken)
    assert nursery.ends == ["other"]


def test_crashes_that_are_older_than_the_window_are_forgotten(nursery: Nursery) -> None:
    started: list[float] = []

    async def main() -> None:
        async with nursery.open() as supervision:
            run = crashing(at=started, clock=nursery.clock, every_s=1_300.0)
            supervision.start(child(run))
            await anyio.sleep(20 * 1_300.0)

    run_warped(nursery.clock, main())
    assert len(started) >= 20
    assert max(crash.crashes for crash in nursery.crashes) == 3


def test_a_child_that_the_others_need_ends_them_all_when_it_is_given_up(
    nursery: Nursery,
) -> None:
    started: list[float] = []

    async def main() -> None:
        async with nursery.open() as supervision:
            run = crashing(at=started, clock=nursery.clock)
            supervision.start(child(run, on_giving_up=OnGivingUp.ESCALATE))
            await anyio.sleep(10_000)

    with pytest.raises(ExceptionGroup) as caught:
        run_warped(nursery.clock, main())
    (given_up,) = caught.value.exceptions
    assert isinstance(given_up, ChildGivenUp)
    assert isinstance(given_up.__cause__, Broken)
    assert nursery.clock.monotonic() < 10


def test_no_restarts_allowed_means_the_first_crash_is_the_last(nursery: Nursery) -> None:
    started: list[float] = []
    none = Intensity(restarts_max=0, window_s=60.0, delay_s=0.01, delay_max_s=1.0)

    async def main() -> None:
        async with nursery.open() as supervision:
            run = crashing(at=started, clock=nursery.clock)
            supervision.start(child(run, intensity=none))
            await anyio.sleep(100)

    run_warped(nursery.clock, main())
    assert len(started) == 1
    assert nursery.crashes[0].restart_in_s is None


def test_a_crash_is_recorded_before_the_child_starts_again(clock: VirtualClock) -> None:
    order: list[str] = []

    async def on_crash(crash: Crash) -> None:
        await anyio.sleep(5)
        order.append("recorded")

    async def run() -> None:
        order.append("started")
        raise Broken

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            supervision = Supervision(tasks, clock=clock, chance=CHANCE, on_crash=on_crash)
            supervision.start(child(run))
            await anyio.sleep(7)
            tasks.cancel_scope.cancel()

    run_warped(clock, main())
    assert order == ["started", "recorded", "started"]


def test_a_child_whose_work_is_over_is_not_started_again(nursery: Nursery) -> None:
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)

    async def main() -> None:
        async with nursery.open() as supervision:
            supervision.start(child(run))
            await anyio.sleep(100)
            await supervision.stop()

    run_warped(nursery.clock, main())
    assert runs == [1]
    assert nursery.crashes == []


def test_one_childs_crash_leaves_the_others_running(nursery: Nursery) -> None:
    started: list[float] = []

    async def main() -> None:
        async with nursery.open() as supervision:
            supervision.start(nursery.obedient("other"))
            supervision.start(child(crashing(at=started, clock=nursery.clock)))
            await anyio.sleep(1)
            assert nursery.ends == []
            await supervision.stop()

    run_warped(nursery.clock, main())
    assert nursery.ends == ["other"]


async def cancelled_task() -> None:
    """What a worker does that awaits a task which something else has cancelled."""
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task


async def calls_exit() -> None:
    """What a worker does that uses a command line's main function."""
    raise SystemExit(3)


@pytest.mark.parametrize("run", [cancelled_task, calls_exit])
def test_no_end_of_a_child_is_the_end_of_the_others(
    nursery: Nursery, run: Callable[[], Awaitable[None]]
) -> None:
    async def main() -> None:
        async with nursery.open() as supervision:
            supervision.start(nursery.obedient("other"))
            supervision.start(child(run))
            await anyio.sleep(1)
            await supervision.stop()

    run_warped(nursery.clock, main())
    assert nursery.ends == ["other"]
    assert [crash.child for crash in nursery.crashes][:1] == ["c"]


async def test_the_first_restart_comes_within_fifty_milliseconds() -> None:
    restarted = anyio.Event()
    runs: list[int] = []

    async def on_crash(_: Crash) -> None:
        return

    async def run() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise Broken
        restarted.set()

    async with anyio.create_task_group() as tasks:
        supervision = Supervision(tasks, clock=SystemClock(), chance=CHANCE, on_crash=on_crash)
        supervision.start(child(run))
        with anyio.fail_after(5):
            await restarted.wait()
    assert runs == [1, 1]
