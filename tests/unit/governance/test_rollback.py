"""A rollback restores the state and nothing else."""

from __future__ import annotations

import msgspec
import pytest

from supervisor import Context, Outcome
from supervisor.errors import IllegalMove, NotFound
from supervisor.events.log import Origin
from supervisor.governance.audit import audit
from supervisor.governance.rollback import RollbackCommand, RolledBack, checkpoints_of, roll_back
from supervisor.governance.rotation import close_session, open_session_of, resume_session
from supervisor.providers.scripted import Step
from supervisor.worker.records import Started, begin_tick
from supervisor.worker.tick import origin_now, run_tick, tick_request
from tests.unit.worker.conftest import UTC_ZONE, Bench


async def count(ctx: Context) -> None:
    ctx.state["n"] = int(str(ctx.state.get("n", 0))) + 1
    await ctx.model.complete("hi")


async def ticks(bench: Bench, number: int) -> None:
    plan = await bench.plan(count, checkpoint_every=2)
    for _ in range(number):
        assert (await run_tick(bench.kernel, plan)).outcome is Outcome.OK


async def back(bench: Bench, checkpoint: str, *, worker: str = "w") -> RolledBack:
    origin = Origin(at=bench.clock.now(), actor="ann", command_id=f"back-{checkpoint}")
    command = RollbackCommand(worker=worker, checkpoint=checkpoint)
    return await bench.store.write(roll_back, command, origin, UTC_ZONE)


@pytest.fixture
def bench(store, clock, tmp_path) -> Bench:  # type: ignore[no-untyped-def] # fixtures of others
    made = Bench(store, clock, tmp_path)
    made.script(Step(input_tokens=0, output_tokens=100))
    return made


async def test_the_state_is_restored_bit_for_bit_and_no_balance_changes(bench: Bench) -> None:
    await ticks(bench, 5)
    before = await bench.day()
    listed = await bench.store.read(checkpoints_of, "w", 10)
    assert [one.id for one in listed] == ["w#4:periodic", "w#2:periodic"]
    done = await back(bench, "w#2:periodic")
    assert done.state_bytes == len('{"n":2}')
    assert await bench.day() == before
    events = await bench.events("rollback_completed")
    assert [event["state_sha256"] for event in events] == [done.state_sha256]
    assert (await bench.store.read(audit)).findings == ()


async def test_a_rolled_back_worker_waits_until_it_is_resumed(bench: Bench) -> None:
    await ticks(bench, 2)
    done = await back(bench, "w#2:periodic")
    plan = await bench.plan(count)
    assert (await run_tick(bench.kernel, plan)).outcome is Outcome.SKIPPED
    session = await bench.store.read(open_session_of, "w")
    assert session is not None
    assert session.id == done.paused
    origin = Origin(at=bench.clock.now(), actor="ann")
    await bench.store.write(resume_session, session, origin, why="looked at")
    await ticks(bench, 1)
    state = await bench.store.read(lambda tx: tx.row("workers.by_name", _State, name="w"))
    assert state == _State(state='{"n":3}')


class _State(msgspec.Struct, frozen=True):
    state: str


async def test_a_running_tick_forbids_it(bench: Bench) -> None:
    await ticks(bench, 2)
    plan = await bench.plan(count)
    begun = await bench.store.write(
        begin_tick, tick_request(bench.kernel, plan), origin_now(bench.kernel, plan)
    )
    assert isinstance(begun, Started)
    with pytest.raises(IllegalMove, match="tick 3 is running"):
        await back(bench, "w#2:periodic")


@pytest.mark.parametrize(("checkpoint", "worker"), [("w#9:periodic", "w"), ("w#2:periodic", "v")])
async def test_a_checkpoint_that_the_worker_has_not_is_refused(
    bench: Bench, checkpoint: str, worker: str
) -> None:
    await ticks(bench, 2)
    with pytest.raises(NotFound):
        await back(bench, checkpoint, worker=worker)


async def test_the_same_command_twice_restores_once(bench: Bench) -> None:
    await ticks(bench, 2)
    first = await back(bench, "w#2:periodic")
    assert await back(bench, "w#2:periodic") == first
    assert len(await bench.events("rollback_completed")) == 1


async def test_a_worker_without_an_open_session_waits_too(bench: Bench) -> None:
    await ticks(bench, 2)
    session = await bench.store.read(open_session_of, "w")
    assert session is not None
    origin = Origin(at=bench.clock.now(), actor="recovery")
    await bench.store.write(close_session, session, origin)
    bench.clock.advance(3_600)
    assert (await back(bench, "w#2:periodic")).paused is None
    end = await run_tick(bench.kernel, await bench.plan(count))
    assert end.outcome is Outcome.SKIPPED
    assert "rolled back to w#2:periodic" in str(end.refusal)
    assert (await bench.store.read(audit)).findings == ()
