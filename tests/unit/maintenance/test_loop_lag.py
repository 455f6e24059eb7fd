"""Noticing that the event loop was blocked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from zoneinfo import ZoneInfo

import anyio
import pytest

from supervisor.clock import VirtualClock
from supervisor.events import kinds
from supervisor.events.log import Recorded
from supervisor.maintenance.loop_lag import LoopLag
from tests.unit.inline_database import InlineDatabase
from tests.unit.recorded_log import RecordedLog
from tests.unit.time_warp import run_warped


@pytest.fixture
def lag(inline_store: InlineDatabase, clock: VirtualClock, recorded: RecordedLog) -> LoopLag:
    return LoopLag(
        database=inline_store,
        clock=clock,
        log=recorded.log,
        timezone=ZoneInfo("UTC"),
        warn_s=1.0,
    )


@pytest.fixture
def watched(lag: LoopLag, clock: VirtualClock) -> Callable[[Coroutine[object, object, None]], None]:
    """Watch the loop while a coroutine does what it does."""

    async def main(doing: Coroutine[object, object, None]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lag.run)
            await doing
            tasks.cancel_scope.cancel()

    return lambda doing: run_warped(clock, main(doing))


Watched = Callable[[Coroutine[object, object, None]], None]


async def block(clock: VirtualClock, seconds: float) -> None:
    """Hold the loop up, then let it turn."""
    await anyio.sleep(1)
    clock.advance(seconds)
    await anyio.sleep(1)


def test_a_loop_that_turns_has_no_lag(
    watched: Watched, lag: LoopLag, recorded: RecordedLog
) -> None:
    watched(anyio.sleep(100))
    assert lag.worst_s() == pytest.approx(0.0, abs=1e-6)
    assert recorded.events == []


def test_a_blocked_loop_is_measured_logged_and_recorded(
    watched: Watched,
    lag: LoopLag,
    clock: VirtualClock,
    recorded: RecordedLog,
    inline_store: InlineDatabase,
) -> None:
    facts: list[object] = []
    inline_store.listen(facts.extend)
    watched(block(clock, 3.0))
    assert 2.7 <= lag.worst_s() <= 3.0
    (line,) = recorded.lines("loop_was_blocked")
    assert line["lag_s"] == round(lag.worst_s(), 3)
    blocked = [fact.event for fact in facts if isinstance(fact, Recorded)]
    assert kinds.LoopBlocked(lag_s=round(lag.worst_s(), 3)) in blocked


def test_a_short_delay_is_measured_and_not_said(
    watched: Watched, lag: LoopLag, clock: VirtualClock, recorded: RecordedLog
) -> None:
    watched(block(clock, 0.9))
    assert 0.6 <= lag.worst_s() <= 0.9
    assert recorded.events == []


def test_the_worst_of_a_minute_is_forgotten_after_it(
    watched: Watched, lag: LoopLag, clock: VirtualClock
) -> None:
    async def block_and_wait() -> None:
        await block(clock, 3.0)
        await anyio.sleep(50)
        assert lag.worst_s() > 2
        await anyio.sleep(12)

    watched(block_and_wait())
    assert lag.worst_s() == pytest.approx(0.0, abs=1e-6)


def test_a_set_wall_clock_is_no_lag(
    watched: Watched, lag: LoopLag, clock: VirtualClock, recorded: RecordedLog
) -> None:
    async def step() -> None:
        await anyio.sleep(1)
        clock.step_wall(3_600)
        await anyio.sleep(1)
        clock.step_wall(-7_200)
        await anyio.sleep(1)

    watched(step())
    assert lag.worst_s() == pytest.approx(0.0, abs=1e-6)
    assert recorded.events == []


def test_a_store_that_does_not_take_the_record_stops_no_watch(
    watched: Watched,
    lag: LoopLag,
    clock: VirtualClock,
    recorded: RecordedLog,
    inline_store: InlineDatabase,
) -> None:
    inline_store.failures = 1
    watched(block(clock, 3.0))
    assert lag.worst_s() > 2
    assert recorded.lines("loop_was_blocked")
