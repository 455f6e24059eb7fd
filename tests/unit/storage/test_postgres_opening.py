"""Which servers and databases are taken, what is said of the others, and what never is."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.errors import StoreUnavailable
from supervisor.storage.database import Transaction
from supervisor.storage.open import open_database, store_exists, store_name
from supervisor.storage.postgres import PostgresDatabase
from supervisor.storage.postgres_open import open_postgres
from tests.databases import RawConnection
from tests.postgres_server import PostgresServer
from tests.unit.storage.counted_ticks import count, counts

SECRET = "hunter2"  # noqa: S105 - no secret


async def refusal(url: str) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        await open_postgres(url, now_us=1, is_read_only=False)
    return caught.value


@pytest.fixture
def admin(direct_url: str) -> Iterator[RawConnection]:
    connection = RawConnection(direct_url)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("change", "what", "fix"),
    [
        ("/supervisor_test_nowhere", "does not exist", "createdb"),
        ("?options=-csearch_path%3Dnowhere", "none of the schemas", "CREATE SCHEMA"),
        ("?connect_timeout=1&port=1", "refused", "check that the server runs"),
        ("?user=nobody_here", "does not exist", "PGPASSWORD"),
    ],
)
async def test_what_can_not_be_opened_is_told_with_its_cure(
    direct_url: str, change: str, what: str, fix: str
) -> None:
    url = direct_url
    if change.startswith("/"):
        url = url.rpartition("/")[0]
    error = await refusal(url + change)
    assert what in error.what
    assert fix in error.fix


async def test_a_database_of_another_encoding_is_refused(
    admin: RawConnection, direct_url: str
) -> None:
    name = f"{direct_url.rpartition('/')[2]}_latin"
    admin.run(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0")
    error = await refusal(f"{direct_url}_latin")
    admin.run(f"DROP DATABASE {name}")
    assert "LATIN1" in error.what


async def test_a_server_that_does_not_sync_is_refused(postgres_url: str) -> None:
    assert postgres_url
    server = PostgresServer("fsync=off", in_memory=True)
    try:
        await asyncio.to_thread(server.start)
        error = await refusal(server.url)
    finally:
        await asyncio.to_thread(server.remove)
    assert "fsync = off" in error.what


@pytest.mark.parametrize(("configured", "expected"), [("off", "on"), ("remote_apply",) * 2])
async def test_a_commit_is_durable_whatever_the_database_has_as_its_default(
    admin: RawConnection, direct_url: str, configured: str, expected: str
) -> None:
    name = direct_url.rpartition("/")[2]
    admin.run(f"ALTER DATABASE {name} SET synchronous_commit = {configured}")
    database = await open_postgres(direct_url, now_us=1, is_read_only=False)
    assert await database.write(setting) == expected
    await database.close()


def setting(tx: Transaction) -> str:
    connection = tx._connection  # type: ignore[attr-defined] # the driver's own
    return str(connection.execute("SHOW synchronous_commit").fetchone()[0])


async def test_two_stores_live_in_two_schemas_of_one_database_and_do_not_wait(
    admin: RawConnection, direct_url: str
) -> None:
    stores: list[PostgresDatabase] = []
    for name in ("one", "two"):
        admin.run(f"CREATE SCHEMA {name}")
        url = f"{direct_url}?options=-csearch_path%3D{name}"
        stores.append(await open_postgres(url, now_us=1, is_read_only=False))
    first, second = stores
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(tx: Transaction) -> int:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(timeout=10)
        return count(tx, "w")

    writing = asyncio.ensure_future(first.write(slow))
    await entered.wait()
    assert await second.write(count, "w") == 1
    leave.set()
    assert await writing == 1
    assert await second.write(count, "w") == 2
    assert await first.read(counts) == {"w": 1}
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{SECRET}@127.0.0.1:1/acp",
        f"postgresql://ann:{SECRET}@127.0.0.1:port/acp",
        f"postgresql://ann:{SECRET}@[::1/acp",
        f"postgresql://ann:{SECRET}@127.0.0.1:1/acp?nonsense=1",
        f"postgresql://127.0.0.1:1/acp?user=ann&password={SECRET}",
        f"postgresql://ann:{SECRET}%zz@127.0.0.1/acp",
    ],
)
async def test_a_password_is_never_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await open_database(url, state_dir=tmp_path, now_us=1)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_store_is_named_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://ann:{SECRET}@db.example.org:5433/acp?application_name=x"
    assert store_name(url, state_dir=tmp_path) == "postgresql://db.example.org:5433/acp"
    assert store_name("sqlite", state_dir=tmp_path) == str(tmp_path / "supervisor.db")


async def test_a_store_exists_once_it_was_opened_for_writing(
    direct_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    for url in (direct_url, "sqlite"):
        assert not store_exists(url, state_dir=folder)
        opened = await open_database(url, state_dir=folder, now_us=1)
        await opened.close()
        assert store_exists(url, state_dir=folder)


def test_a_store_that_can_not_be_asked_counts_as_there(tmp_path: Path) -> None:
    assert store_exists("postgresql://127.0.0.1:1/acp", state_dir=tmp_path)
    (tmp_path / "supervisor.db-wal").touch()
    assert store_exists("sqlite", state_dir=tmp_path)


async def test_a_store_in_a_file_needs_no_postgres_driver(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path;"
        "from supervisor.storage.open import open_database, store_exists;"
        "folder = Path(sys.argv[1]);"
        "opened = open_database('sqlite', state_dir=folder, now_us=1);"
        "asyncio.run(opened);"
        "assert store_exists('sqlite', state_dir=folder);"
        "assert 'psycopg' not in sys.modules"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(tmp_path))
    assert await process.wait() == 0


def test_every_text_compares_by_its_bytes_whatever_the_language_of_the_database(
    database: PostgresDatabase,
    admin: RawConnection,
) -> None:
    others = "data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
    listed = f"SELECT column_name FROM information_schema.columns WHERE {others}"  # noqa: S608 - a text of this test
    assert admin.rows(f"{listed} AND table_schema = 'public'") == []
    assert len(admin.rows(listed.replace("DISTINCT FROM", "NOT DISTINCT FROM"))) > 20
