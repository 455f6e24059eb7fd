"""Opening a store: a new one, one that is there, and one that is not to be touched."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import anyio
import pytest

from supervisor.errors import StoreDamaged, StoreTooNew, StoreUnavailable
from supervisor.storage import migrate
from supervisor.storage.database import Database
from tests.contract.latches import put, scopes
from tests.contract.site import Site
from tests.databases import NO_SUCH_TABLE, RawConnection


async def test_what_was_committed_is_there_after_reopening(database: Database, site: Site) -> None:
    await database.write(put, "system")
    again = await site.open()
    assert await again.read(scopes) == ["system"]
    await again.close()


async def test_a_read_only_store_takes_no_write(database: Database, site: Site) -> None:
    await database.write(put, "system")
    reading = await site.open(is_read_only=True)
    with pytest.raises(StoreUnavailable):
        await reading.write(put, "worker:a")
    assert await reading.read(scopes) == ["system"]
    await reading.close()


async def test_a_store_that_was_never_made_is_not_made_by_a_reader(site: Site) -> None:
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="`supervisor run`"):
            await site.open(is_read_only=True)


async def test_a_migration_runs_once_and_is_recorded_with_its_checksum(
    database: Database, site: Site, raw: RawConnection
) -> None:
    again = await site.open()
    await again.close()
    recorded = raw.rows("SELECT number, name, checksum FROM schema_migrations ORDER BY number")
    known = migrate.available(site.kind)
    assert recorded == [(one.number, one.name, one.checksum) for one in known]


async def test_processes_that_open_a_new_store_at_once_make_one(site: Site) -> None:
    command = (sys.executable, "-m", "tests.contract.one_writer", site.url, str(site.folder))
    processes = [subprocess.Popen([*command, f"worker:{n}"]) for n in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
    opened = await site.open()
    assert len(await opened.read(scopes)) == 4
    await opened.close()


async def test_a_newer_store_is_refused(database: Database, site: Site, raw: RawConnection) -> None:
    raw.run("INSERT INTO schema_migrations VALUES (999, 'later', 'x', 1)")
    with pytest.raises(StoreTooNew, match=r"999 \(later\)"):
        await site.open()


async def test_a_migration_that_was_edited_after_its_run_is_refused(
    database: Database, site: Site, raw: RawConnection
) -> None:
    raw.run("UPDATE schema_migrations SET checksum = 'other'")
    with pytest.raises(StoreDamaged, match="is not the one that ran here"):
        await site.open()


async def test_a_database_of_somebody_else_is_refused_and_left_as_it_is(site: Site) -> None:
    raw = RawConnection(site.url)
    raw.run("CREATE TABLE mine (x INTEGER)")
    with pytest.raises(StoreDamaged, match="the supervisor's"):
        await site.open()
    raw.run("INSERT INTO mine VALUES (1)")
    with pytest.raises(NO_SUCH_TABLE):
        raw.rows("SELECT * FROM sessions")
    raw.close()


async def test_somebody_elses_lock_is_an_error_that_says_so_and_ends_with_it(
    database: Database, site: Site
) -> None:
    await site.hurry(database)
    blocker = RawConnection(site.url)
    blocker.run("BEGIN IMMEDIATE" if site.kind == "sqlite" else "BEGIN")
    if site.kind == "postgres":
        blocker.run("LOCK TABLE kill_latches")
    with pytest.raises(StoreUnavailable, match="locked"):
        await database.write(put, "system")
    assert database.write_failures() == 1
    blocker.run("ROLLBACK")
    blocker.close()
    await database.write(put, "worker:next")
    assert await database.read(scopes) == ["worker:next"]


async def test_closing_finishes_what_was_queued(site: Site) -> None:
    database = await site.open()
    waiting = [asyncio.ensure_future(database.write(put, f"worker:{n:03}")) for n in range(600)]
    await database.close()
    assert all(one.done() for one in waiting)
    again = await site.open()
    assert len(await again.read(scopes)) == 600
    await again.close()


async def test_a_foreign_commit_is_noticed_soon(database: Database, site: Site) -> None:
    site.listen_only(database)
    other = await site.open()
    await _wait_until_noticed(database, limit_s=0.1)  # the opening itself, maybe
    await other.write(put, "worker:foreign")
    took_s = await _wait_until_noticed(database)
    assert took_s is not None
    assert took_s < 2
    await other.close()


async def _wait_until_noticed(database: Database, *, limit_s: float = 3.0) -> float | None:
    begun_at = time.monotonic()
    while time.monotonic() - begun_at < limit_s:
        if await database.has_foreign_commits():
            return time.monotonic() - begun_at
        await asyncio.sleep(0.005)
    return None


async def test_an_own_commit_is_no_foreign_one(database: Database, site: Site) -> None:
    site.listen_only(database)
    await anyio.sleep(0.05)
    await database.has_foreign_commits()
    for n in range(20):
        await database.write(put, f"worker:{n}")
        assert not await database.has_foreign_commits()
    await anyio.sleep(0.1)
    assert not await database.has_foreign_commits()
