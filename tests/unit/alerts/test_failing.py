"""A worker whose ticks fail is told of, once it has gone on for a while, and when it is over."""

from __future__ import annotations

from datetime import timedelta

import anyio
import msgspec
import pytest

from supervisor.alerts.failing import WorkerNews
from tests.unit.alerts.test_duty import MINUTE_S, NOON, World
from tests.unit.recorded_log import RecordedLog

FAILING = WorkerNews(
    life="running",
    outcome="failed",
    progress_at=NOON,
    failing_since=NOON,
    why="feed x: answered 404; open it in a browser",
)
WELL = WorkerNews(life="running", outcome="ok", progress_at=NOON + timedelta(hours=1))


@pytest.fixture
def world(recorded: RecordedLog) -> World:
    return World(recorded, ops=0.0)


def test_it_is_told_after_ten_minutes_in_its_own_words_and_its_end_too(world: World) -> None:
    async def story(world: World) -> None:
        world.workers["feeds"] = FAILING
        await anyio.sleep(9 * MINUTE_S)
        assert world.channels["ops"].told == []
        await anyio.sleep(2 * MINUTE_S)
        assert world.channels["ops"].told == ["raised the ticks of worker feeds fail"]
        await anyio.sleep(60 * MINUTE_S)
        world.workers["feeds"] = WELL
        await anyio.sleep(MINUTE_S)

    world.live(story)
    raised, resolved = world.channels["ops"].arrived
    assert "answered 404; open it in a browser" in raised.what
    assert "--worker feeds" in raised.command
    assert resolved.kind == "resolved"


def test_one_failed_tick_that_is_made_up_for_soon_wakes_nobody(world: World) -> None:
    async def story(world: World) -> None:
        for _ in range(10):
            now = world.clock.now()
            world.workers["feeds"] = msgspec.structs.replace(FAILING, failing_since=now)
            await anyio.sleep(MINUTE_S)
            world.workers["feeds"] = WELL
            await anyio.sleep(9 * MINUTE_S)

    world.live(story)
    assert world.channels["ops"].told == []


@pytest.mark.parametrize("told_by", [{"outcome": "skipped"}, {"life": "failed"}])
def test_what_a_breaker_or_a_failed_worker_tells_neither_begins_nor_ends_it(
    world: World, told_by: dict[str, str]
) -> None:
    news = {"life": "running", "outcome": "failed", **told_by}
    otherwise = WorkerNews(**news, progress_at=NOON, failing_since=NOON, why="x")

    async def story(world: World) -> None:
        world.workers["a"] = otherwise
        await anyio.sleep(60 * MINUTE_S)
        assert world.channels["ops"].told == []
        world.workers["a"] = FAILING
        await anyio.sleep(MINUTE_S)
        world.workers["a"] = otherwise
        await anyio.sleep(60 * MINUTE_S)

    world.live(story)
    assert world.channels["ops"].told == ["raised the ticks of worker a fail"]
