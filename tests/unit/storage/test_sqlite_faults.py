"""What only a SQLite file can suffer."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from supervisor.clock import to_us
from supervisor.errors import StoreDamaged, StoreUnavailable
from supervisor.storage.database import Database
from supervisor.storage.open import open_database
from tests.conftest import START
from tests.contract.latches import put, scopes


@pytest.mark.parametrize("damage", ["empty", "garbage", "foreign", "log without database"])
async def test_a_store_that_is_not_ours_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: str
) -> None:
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


async def test_a_locked_store_is_an_error_that_says_so(store: Database, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_nothing_is_written_into_a_file_that_has_lost_its_name(
    store: Database, tmp_path: Path, is_replaced: bool
) -> None:
    path, aside = tmp_path / "supervisor.db", tmp_path / "aside.db"
    await store.write(put, "system")
    path.rename(aside)
    if is_replaced:
        path.write_bytes(aside.read_bytes())
    with pytest.raises(StoreUnavailable, match="deleted, moved or replaced while in use"):
        await store.write(put, "worker:lost")
    aside.rename(path)
    await store.write(put, "worker:kept")
    assert await store.read(scopes) == ["system", "worker:kept"]


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
