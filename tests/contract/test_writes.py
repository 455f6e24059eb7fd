"""What a write, a read and a listener can rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio
import pytest

from supervisor.errors import StoreUnavailable
from supervisor.storage.database import Database, Joined, Transaction
from tests.contract.latches import LatchRow, put, put_then_raise, scopes
from tests.databases import RawConnection


async def test_a_write_is_there_for_every_later_read(database: Database) -> None:
    await database.write(put, "system")
    assert await database.read(scopes) == ["system"]


async def test_a_function_that_raises_leaves_nothing_and_its_error_reaches_the_caller(
    database: Database,
) -> None:
    with pytest.raises(ValueError, match="worker:a"):
        await database.write(put_then_raise, "worker:a")
    assert await database.read(scopes) == []


async def test_a_failing_member_of_a_batch_rolls_back_alone(database: Database) -> None:
    heard: list[object] = []
    database.listen(heard.extend)
    results = await asyncio.gather(
        *(database.write(put_then_raise if n % 3 == 0 else put, f"worker:{n}") for n in range(30)),
        return_exceptions=True,
    )
    failed = [n for n, result in enumerate(results) if isinstance(result, ValueError)]
    assert failed == list(range(0, 30, 3))
    assert sorted(await database.read(scopes)) == sorted(f"worker:{n}" for n in range(30) if n % 3)
    assert heard == []


async def test_writes_run_in_the_order_of_their_calls_also_unawaited(database: Database) -> None:
    futures = [asyncio.ensure_future(database.write(put, "system", str(n))) for n in range(50)]
    await asyncio.gather(*futures)

    def why(tx: Transaction) -> str:
        return tx.rows("governance.engaged_latches", LatchRow)[0].why

    assert await database.read(why) == "49"


async def test_what_is_published_is_heard_after_the_commit_and_before_the_answer(
    database: Database,
) -> None:
    heard: list[object] = []
    database.listen(heard.extend)

    def tell(tx: Transaction) -> None:
        put(tx, "system")
        tx.publish("committed")
        assert heard == []

    await database.write(tell)
    assert heard == ["committed"]


async def test_a_listener_that_raises_holds_up_nobody(database: Database) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def broken(_: object) -> None:
        raise ZeroDivisionError

    def tell(tx: Transaction) -> None:
        put(tx, "system")
        tx.publish("committed")

    database.listen(broken)
    with anyio.fail_after(5):
        await database.write(tell)
        await database.write(tell)
    assert len(told) == 2


async def test_a_write_that_the_store_did_not_take_is_counted_also_beside_others(
    database: Database,
) -> None:
    def refused(tx: Transaction) -> None:
        raise StoreUnavailable(subject="store", what="takes nothing", fix="wait")

    before = database.write_failures()
    outcomes = await asyncio.gather(
        database.write(put, "worker:a"), database.write(refused), return_exceptions=True
    )
    with pytest.raises(StoreUnavailable):
        await database.write(refused)
    assert isinstance(outcomes[1], StoreUnavailable)
    assert database.write_failures() == before + 2


def _look_past_the_end(_: Transaction) -> None:
    next(iter(()))


async def test_an_error_that_no_future_takes_leaves_nobody_without_an_answer(
    database: Database,
) -> None:
    writes = [database.write(put, "worker:a"), database.write(_look_past_the_end)]
    writes += [database.write(put, "worker:b")]
    with anyio.fail_after(5):
        before, failed, after = await asyncio.gather(*writes, return_exceptions=True)
        assert (before, after) == (None, None)
        assert isinstance(failed, RuntimeError)
        with pytest.raises(RuntimeError):
            await database.read(_look_past_the_end)
        await database.write(put, "worker:c")
    assert await database.read(scopes) == ["worker:a", "worker:b", "worker:c"]


async def test_a_joined_function_that_gives_too_few_answers_gives_nobody_that_of_another(
    database: Database,
) -> None:
    def forget_one(tx: Transaction, calls: Sequence[str]) -> Sequence[str]:
        for call in calls:
            put(tx, call)
        return calls[:1]

    joined = Joined(forget_one)
    names = [f"worker:{n}" for n in range(5)]
    with anyio.fail_after(5):
        assert await asyncio.gather(*(database.write(joined, name) for name in names)) == names
    assert await database.read(scopes) == names


async def test_an_answer_comes_after_its_commit_also_where_batches_take_turns(
    database: Database, raw: RawConnection
) -> None:
    async def write_in_turn(writer: int) -> None:
        for number in range(10):
            await database.write(put, f"worker:{writer}", str(number))
            # What another connection sees is committed.
            seen = raw.rows("SELECT why FROM kill_latches WHERE scope = ?", f"worker:{writer}")
            assert seen == [(str(number),)]

    async with anyio.create_task_group() as tasks:
        for writer in range(32):
            tasks.start_soon(write_in_turn, writer)
