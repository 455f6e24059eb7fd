"""Children stop in reverse, each within its grace, and at once in a hurry."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from supervisor.supervision import Child, Intensity
from tests.unit.nursery import INTENSITY, Broken, Nursery, child, crashing
from tests.unit.time_warp import run_warped


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
    assert nursery.crashes == []
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
            await anyio.lowlevel.checkpoint()
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
            await anyio.lowlevel.checkpoint()
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
            await anyio.lowlevel.checkpoint()
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


def test_a_crash_while_it_stops_is_never_one_too_many(nursery: Nursery) -> None:
    none = Intensity(restarts_max=0, window_s=60.0, delay_s=0.01, delay_max_s=1.0)
    asked = anyio.Event()

    async def run() -> None:
        await asked.wait()
        raise Broken

    async def main() -> None:
        async with nursery.open() as supervision:
            supervision.start(nursery.obedient("other"))
            supervision.start(Child(name="c", run=run, stop=asked.set, grace_s=5.0, intensity=none))
            await anyio.sleep(1)
            await supervision.stop()

    run_warped(nursery.clock, main())
    assert nursery.ends == ["other"]
