"""A worker whose ticket was decided is called: once, also after a restart, never in circles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from supervisor import Context
from supervisor.clock import VirtualClock
from supervisor.config import Loaded
from supervisor.config.sections import Config, SpendSection
from supervisor.governance import kill_switch
from supervisor.governance.approvals import Decided
from supervisor.governance.kill_switch import KillCommand
from supervisor.maintenance.approval_sweep import ApprovalSweep
from supervisor.worker.loop import WorkerLoop
from supervisor.worker.plan import WorkerPlan
from supervisor.worker.schedule import Cron
from tests.contract.policy_bench import SURE, UTC_ZONE, PolicyBench
from tests.unit.inline_database import InlineDatabase
from tests.unit.recorded_log import RecordedLog
from tests.unit.time_warp import run_warped

#: Once a year: whatever ticks before was called.
YEARLY = Cron("0 0 1 1 *", UTC_ZONE)


class Yearly:
    """A worker that asks to merge, its loop, and the sweep that calls it."""

    def __init__(self, bench: PolicyBench, recorded: RecordedLog, folder: Path) -> None:
        self.bench = bench
        self.ticks: list[bool] = []
        self.called: list[str] = []
        self.loop: WorkerLoop | None = None
        loaded = Loaded(
            config=Config(spend=SpendSection(daily_cap_usd=1.0)), path=folder / "config.toml"
        )
        self.sweep = ApprovalSweep(
            bench.store,
            bench.clock,
            recorded.log,
            lambda: loaded,
            self._call,
            anyio.lowlevel.checkpoint,
        )

    def _call(self, worker: str) -> None:
        self.called.append(worker)
        if self.loop is not None:
            self.loop.call()

    async def work(self, ctx: Context) -> None:
        answer = await ctx.propose("merge", command_id="m", **SURE)
        self.ticks.append(answer.is_approved)

    async def plan(self) -> WorkerPlan:
        return replace(await self.bench.plan(self.work), schedule=YEARLY)

    async def ticket(self) -> str:
        await self.bench.tick_end(self.work)
        (requested,) = await self.bench.events("approval_requested")
        return str(requested["ticket"])


@pytest.fixture
def yearly(
    inline_store: InlineDatabase, clock: VirtualClock, tmp_path: Path, recorded: RecordedLog
) -> Yearly:
    return Yearly(PolicyBench(inline_store, clock, tmp_path), recorded, tmp_path)


async def settle() -> None:
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


def test_a_decision_calls_the_worker_whatever_its_schedule_says(yearly: Yearly) -> None:
    async def main() -> None:
        ticket = await yearly.ticket()
        yearly.loop = WorkerLoop(yearly.bench.kernel, await yearly.plan())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(yearly.loop.run)
            await settle()
            assert yearly.ticks == [False]
            assert isinstance(await yearly.bench.approve(ticket), Decided)
            await yearly.sweep.once()
            await settle()
            assert yearly.ticks == [False, True]
            await yearly.sweep.once()
            await settle()
            yearly.loop.stop()
        assert yearly.ticks == [False, True]
        assert yearly.called == ["w"]
        assert await yearly.bench.unnoticed() == []

    run_warped(yearly.bench.clock, main())


def test_a_decision_of_a_time_without_a_daemon_calls_the_worker_at_the_next_start(
    yearly: Yearly,
) -> None:
    async def main() -> None:
        ticket = await yearly.ticket()
        await yearly.bench.deny(ticket)
        await yearly.sweep.once()  # called, and the daemon dies before the tick
        assert await yearly.bench.unnoticed() == ["w"]
        yearly.sweep._called.clear()  # the next life knows nothing of it
        await yearly.sweep.once()
        assert yearly.called == ["w", "w"]

    run_warped(yearly.bench.clock, main())


def test_a_killed_worker_is_called_once_and_learns_of_it_when_it_is_released(
    yearly: Yearly,
) -> None:
    async def main() -> None:
        bench = yearly.bench
        ticket = await yearly.ticket()
        await bench.approve(ticket)
        await turn(bench, is_engaged=True)
        loop = yearly.loop = WorkerLoop(bench.kernel, await yearly.plan())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop.run)
            for _ in range(5):
                await yearly.sweep.once()
                await settle()
            assert yearly.called == ["w"]
            assert len(await bench.events("cycle_skipped")) == 1
            await turn(bench, is_engaged=False)
            loop.wake()
            await settle()
            loop.stop()
        assert yearly.ticks == [False, True]
        assert await bench.unnoticed() == []

    run_warped(yearly.bench.clock, main())


async def turn(bench: PolicyBench, *, is_engaged: bool) -> None:
    act = kill_switch.engage if is_engaged else kill_switch.release
    command = KillCommand(scope="worker:w", why="drill")
    await bench.store.write(act, command, bench.origin(), UTC_ZONE)


def test_the_sweep_goes_on_after_a_store_that_did_not_answer(
    yearly: Yearly, inline_store: InlineDatabase, recorded: RecordedLog
) -> None:
    async def main() -> None:
        ticket = await yearly.ticket()
        yearly.bench.clock.advance(3601)
        inline_store.fail_reads = 1
        await yearly.sweep.once()
        assert (await yearly.bench.ticket(ticket)).status == "pending"
        await yearly.sweep.once()
        assert (await yearly.bench.ticket(ticket)).status == "expired"

    run_warped(yearly.bench.clock, main())
    assert recorded.events[:2] == ["sweep_not_done", "swept"]
