"""Children: restarted with backoff, given up on with a limit, stopped in reverse."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import anyio
import pytest

from supervisor.clock import SystemClock, VirtualClock
from supervisor.supervision import (
    Child,
    ChildGivenUp,
    Crash,
    Intensity,
    OnGivingUp,
    Supervision,
)
from tests.unit.time_warp import run_warped

INTENSITY = Intensity(restarts_max=3, window_s=3600.0, delay_s=0.01, delay_max_s=300.0)


class Broken(Exception):
    pass


@dataclass
class Nursery:
    """A supervision whose time is virtual, and what it has recorded."""

    clock: VirtualClock
    crashes: list[Crash] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Supervision]:
        async def on_crash(crash: Crash) -> None:
            self.crashes.append(crash)

        async with anyio.create_task_group() as tasks:
            yield Supervision(tasks, clock=self.clock, chance=random.Random(1), on_crash=on_crash)
            tasks.cancel_scope.cancel()

    def obedient(self, name: str, *, lasts_s: float = 0.0, grace_s: float = 10.0) -> Child:
        """A child that ends `lasts_s` after it was asked to."""
        asked = anyio.Event()

        async def run() -> None:
            try:
                await asked.wait()
                await anyio.sleep(lasts_s)
                self.ends.append(name)
            except asyncio.CancelledError:
                self.ends.append(f"{name} cancelled")
                raise

        return Child(name=name, run=run, stop=asked.set, grace_s=grace_s, intensity=INTENSITY)


@pytest.fixture
def nursery(clock: VirtualClock) -> Nursery:
    return Nursery(clock)


def crashing(
    *, at: list[float], clock: VirtualClock, every_s: float = 0.0
) -> Callable[[], Awaitable[None]]:
    """A child's work that notes when it starts, and crashes."""

    async def run() -> None:
        at.append(clock.monotonic())
        await anyio.sleep(every_s)
        raise Broken(str(len(at)))

    return run


def child(
    run: Callable[[], Awaitable[None]],
    *,
    name: str = "c",
    intensity: Intensity = INTENSITY,
    on_giving_up: OnGivingUp = OnGivingUp.LEAVE,
    stop: Callable[[], None] = lambda: None,
) -> Child:
    return Child(name=name, run=run, stop=stop, intensity=intensity, on_giving_up=on_giving_up)


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
            supervision = Supervision(
                tasks, clock=clock, chance=random.Random(1), on_crash=on_crash
            )
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


def test_children_stop_one_by_one_and_the_last_first(nursery: Nursery) -> None:
    async def main() -> None:
        async with nursery.open() as supervision:
            for name in ("first", "second", "third"):
                supervision.start(nursery.obedient(name, lasts_s=2.0))
            await anyio.sleep(1)
            await supervision.stop()

    run_warped(nursery.clock, main())
    assert nursery.ends == ["third", "second", "first"]
    assert nursery.clock.monotonic() == pytest.approx(7.0)


def test_a_child_that_outlives_its_grace_is_cancelled(nursery: Nursery) -> None:
    async def main() -> None:
        async with nursery.open() as supervision:
            supervision.start(nursery.obedient("slow", lasts_s=60.0, grace_s=3.0))
            await anyio.sleep(1)
            await supervision.stop()

    run_warped(nursery.clock, main())
    assert nursery.ends == ["slow cancelled"]
    assert nursery.clock.monotonic() == pytest.approx(4.0)


def test_children_that_stop_together_share_their_grace(nursery: Nursery) -> None:
    async def main() -> None:
        async with nursery.open() as supervision:
            for name in ("kept", "a", "b"):
                supervision.start(nursery.obedient(name, lasts_s=5.0))
            await anyio.sleep(1)
            await supervision.stop_together({"a", "b"})
            assert sorted(nursery.ends) == ["a", "b"]
            assert nursery.clock.monotonic() == pytest.approx(6.0)
            await supervision.stop()

    run_warped(nursery.clock, main())
    assert nursery.ends[-1] == "kept"


def test_a_hurry_cancels_what_is_draining_at_once(nursery: Nursery) -> None:
    async def main() -> None:
        async with nursery.open() as supervision:
            supervision.start(nursery.obedient("a", lasts_s=60.0, grace_s=100.0))
            await anyio.sleep(0)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(supervision.stop_together, {"a"})
                await anyio.sleep(2)
                supervision.hurry()

    run_warped(nursery.clock, main())
    assert nursery.ends == ["a cancelled"]
    assert nursery.clock.monotonic() == pytest.approx(2.0)


def test_a_hurry_leaves_no_grace_to_what_stops_after_it(nursery: Nursery) -> None:
    async def main() -> None:
        async with nursery.open() as supervision:
            supervision.start(nursery.obedient("a", lasts_s=60.0, grace_s=100.0))
            await anyio.sleep(0)
            supervision.hurry()
            await supervision.stop_together({"a"})

    run_warped(nursery.clock, main())
    assert nursery.ends == ["a cancelled"]
    assert nursery.clock.monotonic() == 0.0


def test_a_hurry_reaches_every_child_that_is_draining(nursery: Nursery) -> None:
    # A reload that drops a worker still drains it when the daemon is told to stop.
    async def main() -> None:
        async with nursery.open() as supervision:
            for name in ("dropped", "other"):
                supervision.start(nursery.obedient(name, lasts_s=60.0, grace_s=100.0))
            await anyio.sleep(0)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(supervision.stop_together, {"dropped"})
                await anyio.sleep(1)
                tasks.start_soon(supervision.stop_together, {"other"})
                await anyio.sleep(1)
                supervision.hurry()

    run_warped(nursery.clock, main())
    assert sorted(nursery.ends) == ["dropped cancelled", "other cancelled"]
    assert nursery.clock.monotonic() == pytest.approx(2.0)


def test_a_child_that_waits_for_its_restart_stops_without_waiting(nursery: Nursery) -> None:
    started: list[float] = []
    slow = Intensity(restarts_max=9, window_s=3600.0, delay_s=100.0, delay_max_s=100.0)

    async def main() -> None:
        async with nursery.open() as supervision:
            run = crashing(at=started, clock=nursery.clock)
            one = child(run, intensity=slow)
            supervision.start(Child(name="c", run=one.run, intensity=slow, grace_s=30.0))
            await anyio.sleep(1)
            await supervision.stop()

    run_warped(nursery.clock, main())
    assert started == [0.0]
    assert nursery.clock.monotonic() == pytest.approx(1.0)


def test_a_child_that_crashes_while_it_stops_is_recorded_and_not_started_again(
    nursery: Nursery,
) -> None:
    started: list[float] = []
    asked = anyio.Event()

    async def run() -> None:
        started.append(nursery.clock.monotonic())
        await asked.wait()
        raise Broken

    async def main() -> None:
        async with nursery.open() as supervision:
            supervision.start(
                Child(name="c", run=run, stop=asked.set, grace_s=5.0, intensity=INTENSITY)
            )
            await anyio.sleep(1)
            await supervision.stop()

    run_warped(nursery.clock, main())
    assert started == [0.0]
    assert len(nursery.crashes) == 1


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
        supervision = Supervision(
            tasks, clock=SystemClock(), chance=random.Random(1), on_crash=on_crash
        )
        supervision.start(child(run))
        with anyio.fail_after(5):
            await restarted.wait()
    assert runs == [1, 1]
