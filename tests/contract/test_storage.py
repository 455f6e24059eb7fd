"""What every store must do, whichever database it is."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import anyio
import msgspec
import pytest

from supervisor.clock import to_us
from supervisor.errors import StoreDamaged, StoreTooNew, StoreUnavailable
from supervisor.storage.database import Database, Transaction
from supervisor.storage.open import open_database
from tests.conftest import START


class Row(msgspec.Struct, frozen=True):
    scope: str
    is_engaged: bool
    actor: str
    why: str
    at: int


def put(tx: Transaction, scope: str, why: str = "x") -> None:
    tx.run("governance.set_latch", scope=scope, is_engaged=True, actor="t", why=why, now=1)


def put_then_raise(tx: Transaction, scope: str) -> None:
    put(tx, scope)
    tx.publish(scope)
    raise ValueError(scope)


def scopes(tx: Transaction) -> list[str]:
    return [row.scope for row in tx.rows("governance.engaged_latches", Row)]


async def test_a_write_is_there_for_every_later_read(store: Database) -> None:
    await store.write(put, "system")
    assert await store.read(scopes) == ["system"]


async def test_a_function_that_raises_leaves_nothing_and_its_error_reaches_the_caller(
    store: Database,
) -> None:
    with pytest.raises(ValueError, match="worker:a"):
        await store.write(put_then_raise, "worker:a")
    assert await store.read(scopes) == []


async def test_a_failing_member_of_a_batch_rolls_back_alone(store: Database) -> None:
    heard: list[object] = []
    store.listen(heard.extend)
    results = await asyncio.gather(
        *(store.write(put_then_raise if n % 3 == 0 else put, f"worker:{n}") for n in range(30)),
        return_exceptions=True,
    )
    failed = [n for n, result in enumerate(results) if isinstance(result, ValueError)]
    assert failed == list(range(0, 30, 3))
    assert sorted(await store.read(scopes)) == sorted(f"worker:{n}" for n in range(30) if n % 3)
    assert heard == []


async def test_writes_run_in_the_order_of_their_calls_also_unawaited(store: Database) -> None:
    futures = [asyncio.ensure_future(store.write(put, "system", str(n))) for n in range(50)]
    await asyncio.gather(*futures)

    def why(tx: Transaction) -> str:
        return tx.rows("governance.engaged_latches", Row)[0].why

    assert await store.read(why) == "49"


async def test_what_is_published_is_heard_after_the_commit_and_before_the_answer(
    store: Database,
) -> None:
    heard: list[object] = []
    store.listen(heard.extend)

    def tell(tx: Transaction) -> None:
        put(tx, "system")
        tx.publish("committed")
        assert heard == []

    await store.write(tell)
    assert heard == ["committed"]


async def test_a_listener_that_raises_holds_up_nobody(store: Database) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def broken(_: object) -> None:
        raise ZeroDivisionError

    def tell(tx: Transaction) -> None:
        put(tx, "system")
        tx.publish("committed")

    store.listen(broken)
    with anyio.fail_after(5):
        await store.write(tell)
        await store.write(tell)
    assert len(told) == 2


async def test_a_reader_sees_one_snapshot_and_never_waits_for_a_writer(store: Database) -> None:
    await store.write(put, "system")
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(tx: Transaction) -> None:
        put(tx, "worker:slow")
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(timeout=10)

    writing = asyncio.ensure_future(store.write(slow))
    await entered.wait()
    assert await store.read(scopes) == ["system"]
    leave.set()
    await writing
    assert await store.read(scopes) == ["system", "worker:slow"]


async def test_a_cancel_fuzz_of_1000_writers_leaves_no_transaction_open(store: Database) -> None:
    chance = random.Random(7)  # noqa: S311 - a seeded schedule, not a secret

    async def write(n: int) -> None:
        with anyio.move_on_after(chance.choice([0, 0, 0.0005, 0.005, 1])):
            await anyio.sleep(chance.random() * 0.01)
            await store.write(put_then_raise if n % 5 == 0 else put, f"worker:{n}")

    async def survive(n: int) -> None:
        try:
            await write(n)
        except ValueError as error:
            assert str(error) == f"worker:{n}"

    async with anyio.create_task_group() as tasks:
        for n in range(1000):
            tasks.start_soon(survive, n)
    with anyio.fail_after(5):
        await store.write(put, "system")
    assert "system" in await store.read(scopes)


async def test_a_cancelled_caller_does_not_tear_its_function(store: Database) -> None:
    with anyio.CancelScope() as scope:
        future = store.write(put, "system")
        scope.cancel()
        await future
    assert scope.cancelled_caught
    await store.write(put, "worker:next")
    assert await store.read(scopes) == ["system", "worker:next"]


async def test_a_foreign_commit_is_noticed_once_and_an_own_one_never(
    store: Database, tmp_path: Path
) -> None:
    other = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    assert not await store.has_foreign_commits()
    await store.write(put, "worker:own")
    assert not await store.has_foreign_commits()
    await other.write(put, "worker:foreign")
    assert await store.has_foreign_commits()
    assert not await store.has_foreign_commits()
    await other.close()


async def test_what_was_committed_is_there_after_reopening(store: Database, tmp_path: Path) -> None:
    await store.write(put, "system")
    again = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    assert await again.read(scopes) == ["system"]
    await again.close()


async def test_a_read_only_store_takes_no_write(store: Database, tmp_path: Path) -> None:
    await store.write(put, "system")
    reading = await open_database(
        "sqlite", state_dir=tmp_path, now_us=to_us(START), is_read_only=True
    )
    assert await reading.read(scopes) == ["system"]
    with pytest.raises(StoreUnavailable):
        await reading.write(put, "worker:a")
    await reading.close()


async def test_every_statement_is_valid_sql_for_this_store(store: Database) -> None:
    import re

    from supervisor.storage import statements

    named = statements.load("sqlite")
    assert len(named) > 40

    def explain(tx: Transaction) -> list[str]:
        connection = tx._connection  # type: ignore[attr-defined] # the driver's own
        broken = []
        for name, sql in named.items():
            values = dict.fromkeys(re.findall(r":([a-z_]+)", sql), 1)
            try:
                connection.execute(f"EXPLAIN {sql}", values)
            except Exception as error:  # noqa: BLE001 - every complaint is wanted
                broken.append(f"{name}: {error}")
        return broken

    assert await store.read(explain) == []


async def test_every_statement_that_the_code_names_exists_and_none_is_left_over() -> None:
    import re

    from supervisor.storage import statements

    root = Path(statements.__file__).parents[1]
    sources = "\n".join(path.read_text() for path in root.rglob("*.py"))
    named = set(statements.load("sqlite"))
    used = {name for name in named if f'"{name}"' in sources}
    files = {name.partition(".")[0] for name in named}
    stems = re.findall(rf'f"((?:{"|".join(files)})\.[a-z_]+)\{{', sources)
    used |= {name for name in named if name.startswith(tuple(stems))}
    mentioned = set(re.findall(rf'"((?:{"|".join(files)})\.[a-z_]+)"', sources))
    assert mentioned <= named
    assert named == used


@pytest.mark.parametrize("damage", ["empty", "garbage", "foreign", "log without database"])
async def test_a_store_that_is_not_ours_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: str
) -> None:
    import sqlite3

    path = tmp_path / "supervisor.db"
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "garbage":
        path.write_bytes(b"not a database, but long enough to have a header" * 50)
    elif damage == "foreign":
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE mine (x)")
        other.commit()
        other.close()
    else:
        path.with_name("supervisor.db-wal").write_bytes(b"x" * 100)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(StoreDamaged):
        await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    after = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert {name: after[name] for name in before} == before


async def test_a_newer_store_is_refused(store: Database, tmp_path: Path) -> None:
    def grow(tx: Transaction) -> None:
        connection = tx._connection  # type: ignore[attr-defined] # the driver's own
        connection.execute("INSERT INTO schema_migrations VALUES (999, 'later', 'x', 1)")

    await store.write(grow)
    with pytest.raises(StoreTooNew, match=r"999 \(later\)"):
        await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))


async def test_a_migration_that_was_edited_after_its_run_is_refused(
    store: Database, tmp_path: Path
) -> None:
    def edit(tx: Transaction) -> None:
        connection = tx._connection  # type: ignore[attr-defined] # the driver's own
        connection.execute("UPDATE schema_migrations SET checksum = 'other'")

    await store.write(edit)
    with pytest.raises(StoreDamaged, match="is not the one that ran here"):
        await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))


async def test_a_locked_store_is_an_error_that_says_so(store: Database, tmp_path: Path) -> None:
    import sqlite3

    blocker = sqlite3.connect(tmp_path / "supervisor.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    writer = store._writer  # type: ignore[attr-defined] # to wait less than its 5 s
    await writer.submit(lambda connection: connection.execute("PRAGMA busy_timeout = 20"))
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.write(put, "system")
    blocker.execute("ROLLBACK")
    blocker.close()
    await store.write(put, "system")
    assert await store.read(scopes) == ["system"]


async def test_a_full_disk_fails_the_whole_batch_and_keeps_what_was_committed(
    store: Database,
) -> None:
    await store.write(put, "system")
    writer = store._writer  # type: ignore[attr-defined] # the driver's own
    await writer.submit(lambda c: c.execute(f"PRAGMA max_page_count = {_pages(c)}"))
    results = await asyncio.gather(
        *(store.write(put, f"worker:{n}", "y" * 3000) for n in range(40)), return_exceptions=True
    )
    assert any(isinstance(result, StoreUnavailable) for result in results)
    stored = await store.read(scopes)
    kept = [n for n, result in enumerate(results) if result is None]
    assert set(stored) == {"system", *(f"worker:{n}" for n in kept)}
    await writer.submit(lambda c: c.execute("PRAGMA max_page_count = 100000"))
    await store.write(put, "worker:after")


def _pages(connection: object) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()  # type: ignore[attr-defined] # the driver's own
    return int(pages)
