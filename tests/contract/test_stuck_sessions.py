"""A tick in whose session nothing happens for too long is cancelled, in the open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from supervisor import Context, Outcome
from supervisor.governance.audit import audit
from supervisor.maintenance.stuck_watch import StuckWatch
from supervisor.worker.tick import TickEnd, run_tick
from tests.unit.worker.conftest import Bench

LIMIT_S = 900.0


class Watched:
    """A tick in flight, the watch over it, and how the tick ended."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.found = 0
        self.end: TickEnd | None = None
        self.goes_on = anyio.Event()
        self.watch = StuckWatch(
            bench.store,
            bench.kernel.in_flight,
            bench.clock,
            bench.kernel.log,
            stuck_after_s=lambda: LIMIT_S,
            on_stuck=self._count,
        )

    def _count(self) -> None:
        self.found += 1

    async def pass_time(self, span_s: float) -> None:
        """Let time pass, with a look every 30 s as in a daemon."""
        await self.watch.look()
        while span_s > 0:
            self.bench.clock.advance(min(span_s, 30.0))
            span_s -= 30.0
            await self.watch.look()

    @asynccontextmanager
    async def flying(self, work: Callable[[Context], Awaitable[None]]) -> AsyncIterator[None]:
        """Let a tick do `work` while the block runs; it has begun when the block does."""

        async def run(ctx: Context) -> None:
            begun.set()
            await work(ctx)

        async def fly() -> None:
            self.end = await run_tick(self.bench.kernel, plan)
            ended.set()

        begun, ended = anyio.Event(), anyio.Event()
        plan = await self.bench.plan(run, timeout_s=10**6)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fly)
            await begun.wait()
            yield
            self.goes_on.set()
            with anyio.fail_after(5):
                await ended.wait()

    async def hangs(self, _: Context) -> None:
        await self.goes_on.wait()


@pytest.fixture
def watched(bench: Bench) -> Watched:
    return Watched(bench)


async def test_without_an_event_for_so_long_it_is_cancelled_and_its_holds_are_forfeited(
    watched: Watched,
) -> None:
    held = anyio.Event()

    async def work(ctx: Context) -> None:
        async with ctx.spend(usd_max=0.01, what="a long call"):
            held.set()
            await anyio.sleep_forever()

    async with watched.flying(work):
        await held.wait()
        await watched.pass_time(LIMIT_S)
    assert watched.end is not None
    assert watched.end.outcome is Outcome.TIMED_OUT
    (stuck,) = await watched.bench.events("session_stuck")
    assert stuck == {
        "kind": "session_stuck",
        "worker": "w",
        "tick": 1,
        "idle_s": LIMIT_S,
        "stuck_after_s": LIMIT_S,
    }
    (completed,) = await watched.bench.events("cycle_completed")
    assert completed["code"] == "stuck"
    assert "no event in its session for 900 s, stuck_after_s = 900" in str(completed["why"])
    assert len(await watched.bench.events("hold_forfeited")) == 1
    assert watched.found == 1
    assert (await watched.bench.store.read(audit)).findings == ()


async def test_before_that_it_is_left_alone(watched: Watched) -> None:
    async with watched.flying(watched.hangs):
        await watched.pass_time(LIMIT_S - 1)
    assert watched.end is not None
    assert watched.end.outcome is Outcome.OK
    assert await watched.bench.events("session_stuck") == []


async def test_any_event_in_its_session_begins_the_span_anew(watched: Watched) -> None:
    called, settled = anyio.Event(), anyio.Event()

    async def work(ctx: Context) -> None:
        await called.wait()
        async with ctx.spend(usd_max=0.01, what="a call"):
            pass
        settled.set()
        await watched.goes_on.wait()

    async with watched.flying(work):
        await watched.pass_time(LIMIT_S - 30)
        called.set()
        await settled.wait()
        await watched.pass_time(LIMIT_S - 30)
        assert watched.found == 0
        await watched.pass_time(60)
        assert watched.found == 1


async def test_neither_a_wall_clock_that_jumps_nor_a_daemon_that_stood_still_makes_it_stuck(
    watched: Watched,
) -> None:
    async with watched.flying(watched.hangs):
        await watched.pass_time(60)
        watched.bench.clock.step_wall(86_400)
        await watched.pass_time(60)
        watched.bench.clock.advance(3 * LIMIT_S)  # the process was stopped, its ticks too
        await watched.pass_time(60)
    assert watched.found == 0
    assert watched.end is not None
    assert watched.end.outcome is Outcome.OK


async def test_one_that_swallows_its_cancellation_is_told_of_once(watched: Watched) -> None:
    async def work(ctx: Context) -> None:
        with anyio.CancelScope(shield=True):
            await watched.goes_on.wait()

    async with watched.flying(work):
        await watched.pass_time(3 * LIMIT_S)
        assert watched.found == 1
    assert len(await watched.bench.events("session_stuck")) == 1


async def test_it_watches_until_it_is_stopped_and_the_worker_ticks_again(
    watched: Watched,
) -> None:
    async with watched.flying(watched.hangs):
        await watched.pass_time(LIMIT_S)
        with anyio.move_on_after(0.05):
            await watched.watch.run()
    async with watched.flying(watched.hangs):
        await watched.pass_time(30)
    ends = await watched.bench.events("cycle_completed")
    assert [end["outcome"] for end in ends] == ["timed_out", "ok"]
