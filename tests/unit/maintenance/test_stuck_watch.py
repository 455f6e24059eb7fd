"""The watch over stuck ticks where the store fails it, or an event comes at the last moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from supervisor import Context, Outcome
from supervisor.clock import VirtualClock
from supervisor.events import kinds
from supervisor.events.log import Journal, Origin
from supervisor.maintenance.stuck_watch import StuckWatch
from supervisor.storage.database import P, T, Transaction, TransactionFunction
from supervisor.worker.tick import TickEnd, run_tick
from tests.unit.inline_database import InlineDatabase
from tests.unit.recorded_log import RecordedLog
from tests.unit.worker.conftest import Bench

LIMIT_S = 900.0


class BusyDatabase(InlineDatabase):
    """A store in which something happens right after each read."""

    def __init__(self) -> None:
        super().__init__()
        self.between: Callable[[], Awaitable[None]] | None = None

    async def read(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        found = await super().read(function, *args, **kwargs)
        if self.between is not None:
            await self.between()
        return found


class Stage:
    """A tick in flight, and the watch over it."""

    def __init__(self, folder: Path, clock: VirtualClock, recorded: RecordedLog) -> None:
        self.store = BusyDatabase()
        self.bench = Bench(self.store, clock, folder)
        self.ends: list[TickEnd] = []
        self.goes_on, self.begun = anyio.Event(), anyio.Event()
        self.session_id = ""
        self.watch = StuckWatch(
            self.store,
            self.bench.kernel.in_flight,
            clock,
            recorded.log,
            stuck_after_s=lambda: LIMIT_S,
            on_stuck=lambda: None,
        )

    async def fly(self) -> None:
        async def work(ctx: Context) -> None:
            self.session_id = ctx.session.id
            self.begun.set()
            await self.goes_on.wait()

        plan = await self.bench.plan(work, timeout_s=10**6)
        self.ends.append(await run_tick(self.bench.kernel, plan))

    async def quiet(self, looks: int) -> None:
        for _ in range(looks):
            await self.watch.look()
            self.bench.clock.advance(LIMIT_S / 3)

    async def happen(self) -> None:
        """Let an event come into the session."""

        def add(tx: Transaction) -> None:
            origin = Origin(at=self.bench.clock.now(), actor="t")
            with Journal(tx, self.session_id, origin) as journal:
                journal.add(kinds.CallRefused(worker="w", model="", code="x", why="x"))

        await self.store.write(add)


@pytest.fixture
def stage(tmp_path: Path, clock: VirtualClock, recorded: RecordedLog) -> Stage:
    return Stage(tmp_path, clock, recorded)


async def test_an_event_at_the_last_moment_leaves_the_tick_alone(stage: Stage) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.fly)
        await stage.begun.wait()
        await stage.quiet(3)
        stage.store.between = stage.happen
        await stage.watch.look()
        stage.store.between = None
        stage.goes_on.set()
    assert [end.outcome for end in stage.ends] == [Outcome.OK]
    assert await stage.bench.events("session_stuck") == []


async def test_while_the_store_does_not_answer_no_tick_is_stuck(
    stage: Stage, recorded: RecordedLog
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.fly)
        await stage.begun.wait()
        await stage.quiet(3)
        stage.store.fail_reads = 1
        with anyio.move_on_after(0.05):
            await stage.watch.run()
        await stage.quiet(3)
        assert len(recorded.lines("stuck_ticks_not_looked_for")) == 1
        assert await stage.bench.events("session_stuck") == []
        await stage.watch.look()
    assert [end.outcome for end in stage.ends] == [Outcome.TIMED_OUT]
