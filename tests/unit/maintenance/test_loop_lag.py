"""Timing the turns of the event loop, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import anyio
import anyio.lowlevel
import pytest

from supervisor.clock import VirtualClock
from supervisor.maintenance.loop_lag import LoopLag
from tests.unit.time_warp import run_warped

Doing = Coroutine[object, object, None]
Watched = Callable[[Doing], None]


@pytest.fixture
def blocks() -> list[tuple[float, float]]:
    """When each block that was told began, and how long it took."""
    return []


@pytest.fixture
def lag(clock: VirtualClock, blocks: list[tuple[float, float]]) -> LoopLag:
    return LoopLag(
        clock=clock, warn_s=1.0, on_block=lambda began_s, lag_s: blocks.append((began_s, lag_s))
    )


@pytest.fixture
def watched(lag: LoopLag, clock: VirtualClock) -> Watched:
    """Watch the loop while a coroutine does what it does."""

    async def main(doing: Doing) -> None:
        lag.watch(asyncio.get_running_loop())
        await doing

    return lambda doing: run_warped(clock, main(doing))


async def block(clock: VirtualClock, seconds: float) -> None:
    """Hold the loop up, then let it turn."""
    await anyio.sleep(0.6)
    clock.advance(seconds)
    await anyio.sleep(1)


def test_a_loop_that_turns_has_no_lag(
    watched: Watched, lag: LoopLag, blocks: list[tuple[float, float]]
) -> None:
    watched(anyio.sleep(100))
    assert lag.worst_s() == 0.0
    assert blocks == []


def test_a_blocked_loop_is_measured_logged_and_recorded(
    watched: Watched, lag: LoopLag, clock: VirtualClock, blocks: list[tuple[float, float]]
) -> None:
    # To the whole length, wherever it began: that it was logged and recorded is
    # test_process_watch.py and tests/e2e/test_machine_faults_loop.py.
    watched(block(clock, 3.0))
    assert lag.worst_s() == pytest.approx(3.0)
    ((began_s, lag_s),) = blocks
    assert began_s == pytest.approx(0.6)
    assert lag_s == pytest.approx(3.0)


def test_two_blocks_of_one_second_are_both_told_and_the_longer_is_the_worst(
    watched: Watched, lag: LoopLag, clock: VirtualClock, blocks: list[tuple[float, float]]
) -> None:
    async def twice() -> None:
        clock.advance(1.5)
        await anyio.sleep(0.01)
        clock.advance(1.2)
        await anyio.sleep(1)

    watched(twice())
    assert [lag_s for _, lag_s in blocks] == [pytest.approx(1.5), pytest.approx(1.2)]
    assert lag.worst_s() == pytest.approx(1.5)


def test_a_short_delay_is_measured_and_not_told(
    watched: Watched, lag: LoopLag, clock: VirtualClock, blocks: list[tuple[float, float]]
) -> None:
    watched(block(clock, 0.9))
    assert lag.worst_s() == pytest.approx(0.9)
    assert blocks == []


def test_the_worst_of_a_minute_is_forgotten_after_it(
    watched: Watched, lag: LoopLag, clock: VirtualClock
) -> None:
    async def block_and_wait() -> None:
        await block(clock, 3.0)
        await anyio.sleep(50)
        assert lag.worst_s() == pytest.approx(3.0)
        await anyio.sleep(12)

    watched(block_and_wait())
    assert lag.worst_s() == 0.0


def test_what_is_remembered_of_a_busy_minute_is_bounded(
    watched: Watched, lag: LoopLag, clock: VirtualClock
) -> None:
    async def busy() -> None:
        for _ in range(3_000):
            clock.advance(0.05)
            await anyio.lowlevel.checkpoint()

    watched(busy())
    assert len(lag._longest) <= 61


def test_a_set_wall_clock_is_no_lag(
    watched: Watched, lag: LoopLag, clock: VirtualClock, blocks: list[tuple[float, float]]
) -> None:
    async def step() -> None:
        for seconds in (3_600, -7_200, 10 * 365 * 86_400):
            await anyio.sleep(1)
            clock.step_wall(seconds)

    watched(step())
    assert lag.worst_s() == 0.0
    assert blocks == []


def test_the_turn_is_seen_while_it_lasts_and_no_turn_while_the_loop_waits(
    watched: Watched, lag: LoopLag, clock: VirtualClock
) -> None:
    seen: list[float | None] = []

    async def look() -> None:
        await anyio.sleep(2)
        seen.append(lag.turn_began_s)
        clock.advance(5)
        seen.append(lag.turn_began_s)
        asyncio.get_running_loop().call_soon(lambda: None)
        await anyio.sleep(1)

    watched(look())
    assert seen == [2.0, 2.0]


def test_what_a_listener_raises_does_not_end_the_loop(clock: VirtualClock) -> None:
    told: list[object] = []

    def raises(_began_s: float, _lag_s: float) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        LoopLag(clock=clock, warn_s=1.0, on_block=raises).watch(loop)
        await block(clock, 2.0)

    run_warped(clock, main())
    assert [type(error) for error in told] == [ZeroDivisionError]


def test_what_the_listener_makes_ready_does_not_wait_for_the_next_timer(
    clock: VirtualClock,
) -> None:
    woken: list[float] = []

    async def main() -> None:
        event = asyncio.Event()
        lag = LoopLag(clock=clock, warn_s=1.0, on_block=lambda began_s, lag_s: event.set())
        lag.watch(asyncio.get_running_loop())

        async def wait() -> None:
            await event.wait()
            woken.append(clock.monotonic())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            clock.advance(2.0)
            await anyio.sleep(100)

    run_warped(clock, main())
    assert woken == [pytest.approx(2.0)]
