"""A worker's loop in virtual time, and the moments at which it ticked."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import msgspec

from supervisor.clock import VirtualClock
from supervisor.events.log import Origin
from supervisor.governance import kill_switch
from supervisor.governance.kill_switch import KillCommand
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction
from supervisor.worker.context import Context
from supervisor.worker.loop import WorkerLoop
from supervisor.worker.plan import Schedule, WorkerPlan
from tests.conftest import START
from tests.unit.inline_database import InlineDatabase
from tests.unit.time_warp import run_warped
from tests.unit.worker.conftest import UTC_ZONE, Bench

DAY_S = 86_400.0
MIDNIGHT = datetime(2026, 6, 2, tzinfo=UTC)


class Number(msgspec.Struct, frozen=True):
    number: int


class Life:
    """A loop in virtual time, and the moments at which its worker was called."""

    def __init__(self, bench: Bench, store: InlineDatabase, clock: VirtualClock) -> None:
        self.bench = bench
        self.store = store
        self.clock = clock
        self.calls: list[datetime] = []
        self.work: Callable[[Context], Awaitable[Outcome | None]] = self._nothing
        self._commands = 0

    @staticmethod
    async def _nothing(_: Context) -> None:
        return

    async def plan(self, schedule: Schedule) -> WorkerPlan:
        async def run(ctx: Context) -> Outcome | None:
            self.calls.append(self.clock.now())
            return await self.work(ctx)

        plan = await self.bench.plan(run, timeout_s=DAY_S)
        return replace(plan, schedule=schedule)

    def live(
        self,
        schedule: Schedule,
        story: Callable[[WorkerLoop], Coroutine[object, object, None]],
    ) -> None:
        """Run the loop while `story` happens, then stop it: it must end by itself."""

        async def main() -> None:
            loop = WorkerLoop(self.bench.kernel, await self.plan(schedule))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(loop.run)
                await story(loop)
                loop.stop()

        run_warped(self.clock, main())

    def waits_s(self) -> list[float]:
        """Return the seconds from the start to the first call, and between calls."""
        moments = [START, *self.calls]
        return [(b - a).total_seconds() for a, b in itertools.pairwise(moments)]

    async def turn(self, scope: str, *, is_engaged: bool) -> None:
        self._commands += 1
        origin = Origin(at=self.clock.now(), actor="t", command_id=f"c{self._commands}")
        act = kill_switch.engage if is_engaged else kill_switch.release
        await self.store.write(act, KillCommand(scope=scope, why="drill"), origin, UTC_ZONE)

    async def skipped(self) -> int:
        def count(tx: Transaction) -> Number | None:
            return tx.row("loop_test.skipped", Number)

        self.store.add_statement(
            "loop_test.skipped", "SELECT count(*) AS number FROM ticks WHERE outcome = 'skipped'"
        )
        found = await self.store.read(count)
        assert found
        return found.number


def waiting(seconds: float) -> Callable[[WorkerLoop], Coroutine[object, object, None]]:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(seconds)

    return story
