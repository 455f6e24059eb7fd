"""A rollback restores the state and nothing else."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from supervisor import Context, Outcome
from supervisor.errors import IllegalMove, NotFound
from supervisor.events.log import EventRow, Origin
from supervisor.governance.audit import audit
from supervisor.governance.rollback import (
    Checkpoint,
    RollbackCommand,
    RolledBack,
    checkpoints_of,
    record_failure,
    roll_back,
)
from supervisor.governance.rotation import close_session, open_session_of, resume_session
from supervisor.lifecycle import Life, begin_life, end_life
from supervisor.providers.scripted import Step
from supervisor.storage.database import Transaction
from supervisor.worker.records import Started, begin_tick
from supervisor.worker.state import Json
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


#: What a careless codec would change: keys out of order, numbers at the edge, texts of all kinds.
ODD: dict[str, Json] = {
    "z": [1, 2.5, -0.0, 1e300, 2**63 - 1, True, None],
    "a": {"": "", "\u00e9\u4e2d\U0001f600": "'; DROP TABLE workers; --", "\\": '"\n\t'},
    "m": "x" * 100_000,
}


async def test_a_state_of_any_kind_is_restored_to_the_byte_and_nothing_else_moves(
    bench: Bench,
) -> None:
    async def keep(ctx: Context) -> None:
        later: dict[str, Json] = {"z": ctx.tick, "new": 1}
        ctx.state.update(ODD if ctx.tick == 1 else later)
        await ctx.model.complete("hi")

    plan = await bench.plan(keep, checkpoint_every=1)
    for _ in range(3):
        assert (await run_tick(bench.kernel, plan)).outcome is Outcome.OK
    kept = await bench.store.read(_checkpoint, "w#1:periodic")
    accounts, events = await _beside(bench)
    done = await back(bench, "w#1:periodic")
    stored = await bench.store.read(lambda tx: tx.row("workers.by_name", _State, name="w"))
    assert stored == _State(state=kept.state)
    assert msgspec.json.decode(kept.state) == ODD
    assert done.state_sha256 == hashlib.sha256(kept.state.encode()).hexdigest()
    accounts_after, events_after = await _beside(bench)
    assert accounts_after == accounts
    # What happened before has happened; the rollback is told of behind it.
    assert events_after[: len(events)] == events
    assert [event.kind for event in events_after[len(events) :]] == [
        "rollback_requested",
        "rollback_completed",
        "session_paused",
    ]


def _checkpoint(tx: Transaction, checkpoint_id: str) -> Checkpoint:
    found = tx.row("governance.checkpoint", Checkpoint, id=checkpoint_id)
    assert found is not None
    return found


class _Balance(msgspec.Struct, frozen=True):
    id: str
    settled: int
    held: int


async def _beside(bench: Bench) -> tuple[list[_Balance], list[EventRow]]:
    """Return every balance and every event."""

    def read(tx: Transaction) -> tuple[list[_Balance], list[EventRow]]:
        wide = {"session_id": None, "worker": None, "kind": None, "correlation_id": None}
        events = tx.rows("events.after", EventRow, position=0, since=None, rows_max=1_000, **wide)
        return tx.rows("restore.every_balance", _Balance), events

    return await bench.store.read(read)


async def test_it_waits_through_restarts_and_past_its_window_until_it_is_resumed(
    bench: Bench,
) -> None:
    await ticks(bench, 2)
    done = await back(bench, "w#2:periodic")
    budgets = bench.kernel.policy.budgets
    for number in range(2):
        life = Life(boot_id=f"boot-{number}", pid=1, host="here", version="0")
        origin = Origin(at=bench.clock.now(), actor="t")
        await bench.store.write(end_life, life, UTC_ZONE, origin, why="a test")
        await bench.store.write(begin_life, life, ["w"], budgets, origin)
        bench.clock.advance(3_600)
        end = await run_tick(bench.kernel, await bench.plan(count))
        assert (end.outcome, end.session_id) == (Outcome.SKIPPED, done.paused)
        assert "rolled back to w#2:periodic" in str(end.refusal)
    assert (await bench.store.read(audit)).findings == ()


async def test_one_that_is_refused_is_on_record_and_restores_nothing(bench: Bench) -> None:
    await ticks(bench, 3)
    plan = await bench.plan(count)
    await bench.store.write(
        begin_tick, tick_request(bench.kernel, plan), origin_now(bench.kernel, plan)
    )
    with pytest.raises(IllegalMove) as refused:
        await back(bench, "w#2:periodic")
    command = RollbackCommand(worker="w", checkpoint="w#2:periodic")
    origin = Origin(at=bench.clock.now(), actor="ann", command_id="back")
    why = refused.value.what
    await bench.store.write(record_failure, command, origin, UTC_ZONE, why)
    told = await bench.events("rollback_requested", "rollback_completed", "rollback_failed")
    assert [event["kind"] for event in told] == ["rollback_requested", "rollback_failed"]
    assert told[1]["why"] == why
    stored = await bench.store.read(lambda tx: tx.row("workers.by_name", _State, name="w"))
    assert stored == _State(state='{"n":3}')


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
