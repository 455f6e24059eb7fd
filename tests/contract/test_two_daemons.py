"""Two daemons with workers of their own on one store: neither ends what the other has at work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor import Outcome
from supervisor.clock import VirtualClock
from supervisor.lifecycle import Life, begin_life, end_life
from supervisor.maintenance.peers import Peers
from supervisor.maintenance.recovery import recover
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from tests.contract.job_bench import UTC_ZONE, JobBench, done

LEFT = Life(boot_id="boot-1", pid=1, host="left", version="0")
RIGHT = Life(boot_id="boot-2", pid=2, host="right", version="0")


@pytest.fixture
async def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[JobBench]:
    """The left one's queue, with worker `w`; the right one has `v`."""
    made = JobBench(database, clock, tmp_path)
    for life, worker in ((LEFT, "w"), (RIGHT, "v")):
        budgets = made.kernel.policy.budgets
        await database.write(begin_life, life, [worker], budgets, made.origin())
    yield made
    await made.audit()


async def recover_on_the_right(bench: JobBench) -> None:
    await recover(
        bench.store,
        boot_id=RIGHT.boot_id,
        clock=bench.clock,
        timezone=UTC_ZONE,
        workers={"v"},
        peers=Peers(host=RIGHT.host, clock=bench.clock),
    )


async def test_the_clean_stop_of_one_pauses_no_session_of_the_other(bench: JobBench) -> None:
    await bench.enqueue(1)
    await bench.enqueue(2)
    await bench.tick(done, name="v", kernel=bench.other_life())

    async def works_on(ctx: Context) -> None:
        await bench.store.write(end_life, RIGHT, UTC_ZONE, bench.origin(), why="asked to")
        await ctx.model.complete("x", max_tokens=100)

    end = await bench.tick(works_on)
    assert end is not None
    assert end.outcome is Outcome.OK
    assert [event["worker"] for event in await bench.events("session_paused")] == ["v"]


async def test_recovery_of_one_seals_no_session_in_which_the_other_works(bench: JobBench) -> None:
    await bench.enqueue(1)

    async def works_past_its_window(_ctx: Context) -> None:
        bench.clock.advance(7_200)
        await recover_on_the_right(bench)

    end = await bench.tick(works_past_its_window)
    assert end is not None
    assert end.outcome is Outcome.OK
    assert await bench.states() == {"done": 1}
    await recover_on_the_right(bench)
    assert [event["worker"] for event in await bench.events("session_closed")] == []
