"""A backup is whole, proved and private, or it is not there."""

from __future__ import annotations

import sqlite3

import pytest

from supervisor.errors import StoreDamaged, StoreUnavailable
from tests.unit.governance.recorded_life import RecordedLife
from tests.unit.maintenance.restored_site import RestoredSite, spending, start


async def test_a_backup_has_all_that_was_committed_also_while_a_daemon_writes(
    site: RestoredSite,
) -> None:
    async def live(life: RecordedLife) -> None:
        await start(life)
        started = await life.started("digest")
        await life.placed("digest", started, 5_000)
        done = await site.back_up()
        await life.placed("digest", started, 6_000)
        assert done.events > 0

    await site.live(live)
    connection = sqlite3.connect(site.backup)
    assert connection.execute("SELECT cost_held, status FROM holds").fetchall() == [(5_000, "open")]
    connection.close()
    assert site.backup.stat().st_mode & 0o777 == 0o600
    assert site.files() == {"supervisor.db", "backup.db"}


async def test_a_file_that_is_there_is_not_overwritten_unless_told_so(site: RestoredSite) -> None:
    await site.live(spending(1_000))
    site.backup.write_text("a letter")
    with pytest.raises(StoreUnavailable, match="is there already"):
        await site.back_up()
    assert site.backup.read_text() == "a letter"
    assert site.files() == {"supervisor.db", "backup.db"}
    await site.back_up(may_replace=True)
    assert site.backup.read_bytes().startswith(b"SQLite format 3")


async def test_a_store_that_does_not_pass_the_audit_gives_no_backup(site: RestoredSite) -> None:
    await site.live(spending(1_000))
    connection = sqlite3.connect(site.store)
    with connection:
        connection.execute("UPDATE accounts SET settled = 0")
    connection.close()
    with pytest.raises(StoreDamaged, match="does not pass the audit"):
        await site.back_up()
    assert site.files() == {"supervisor.db"}


async def test_a_damaged_store_gives_no_backup(site: RestoredSite) -> None:
    await site.live(spending(1_000))
    site.damage()
    with pytest.raises(StoreDamaged):
        await site.back_up()
    assert site.files() == {"supervisor.db"}


async def test_a_folder_that_is_not_there_is_named(site: RestoredSite) -> None:
    await site.live(spending(1_000))
    with pytest.raises(StoreUnavailable, match="nowhere"):
        await site.back_up(site.backup.parent / "nowhere" / "backup.db")
