"""Waiting takes no time and takes exactly as long; a life that is cut off does nothing more."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from supervisor.simulation.virtual_time import (
    SimulatedClock,
    Standstill,
    VirtualLoop,
    create_task_group,
)

START = datetime(2026, 6, 1, tzinfo=UTC)


def live(main: object, clock: SimulatedClock | None = None) -> object:
    assert asyncio.iscoroutine(main)
    return VirtualLoop(clock or SimulatedClock(START)).live(main)


def test_a_month_of_sleep_passes_at_once_on_both_clocks() -> None:
    clock = SimulatedClock(START)
    began_s = time.perf_counter()
    live(anyio.sleep(30 * 86_400), clock)
    assert time.perf_counter() - began_s < 1.0
    assert clock.monotonic() == pytest.approx(30 * 86_400)
    assert clock.now() == START + timedelta(days=30)


def test_a_timeout_comes_before_what_takes_longer() -> None:
    clock = SimulatedClock(START)

    async def main() -> bool:
        with anyio.move_on_after(5.0) as scope:
            await anyio.sleep(6.0)
        return scope.cancelled_caught

    assert live(main(), clock) is True
    assert clock.monotonic() == pytest.approx(5.0)


def test_a_step_of_the_wall_clock_is_none_of_the_monotonic_one() -> None:
    clock = SimulatedClock(START)
    clock.advance(10.0)
    clock.step_wall(-3_600.0)
    assert clock.monotonic() == 10.0
    assert clock.now() == START + timedelta(seconds=10 - 3_600)


def test_a_life_that_is_cut_off_runs_no_line_of_it_more() -> None:
    clock = SimulatedClock(START)
    loop = VirtualLoop(clock)
    done: list[str] = []

    async def main() -> None:
        loop.call_later(2.0, loop.cut_off)
        await anyio.sleep(1.0)
        done.append("before")
        await anyio.sleep(5.0)
        done.append("after")

    assert loop.live(main()) is None
    assert done == ["before"]
    assert clock.monotonic() == pytest.approx(2.0)


def test_the_time_stands_still_while_a_life_is_buried() -> None:
    clock = SimulatedClock(START)
    loop = VirtualLoop(clock)

    async def clings() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(100.0)

    async def main() -> None:
        loop.call_later(2.0, loop.cut_off)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clings)
            tasks.start_soon(clings)

    assert loop.live(main()) is None
    assert clock.monotonic() == pytest.approx(2.0)


def test_tasks_that_all_wait_for_each_other_are_a_standstill() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Standstill, match="every task waits"):
        live(main())


def test_a_loop_that_turns_while_no_time_passes_is_a_standstill() -> None:
    async def spins() -> None:
        while True:  # noqa: ASYNC110 - the busy loop is what is looked for
            await asyncio.sleep(0)

    with pytest.raises(Standstill, match="no time passed"):
        live(spins())


def test_what_main_raises_is_raised_and_what_it_returns_is_returned() -> None:
    async def fails() -> None:
        await anyio.sleep(1.0)
        raise ValueError("so")

    async def answers() -> int:
        return 7

    with pytest.raises(ValueError, match="so"):
        live(fails())
    assert live(answers()) == 7


def test_an_error_that_nobody_awaits_is_told() -> None:
    loop = VirtualLoop(SimulatedClock(START))
    told: list[str] = []
    loop.on_error = lambda error, _message: told.append(repr(error))

    async def main() -> None:
        loop.call_soon(lambda: 1 // 0)
        await anyio.sleep(1.0)

    loop.live(main())
    assert told == ["ZeroDivisionError('integer division or modulo by zero')"]


def test_the_tasks_of_a_group_are_cancelled_in_one_order_in_every_run() -> None:
    ended: list[int] = []

    async def wait(number: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(number)

    async def main() -> None:
        async with create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(wait, number)
            await anyio.sleep(1.0)
            tasks.cancel_scope.cancel()

    live(main())
    assert ended == list(range(50))
