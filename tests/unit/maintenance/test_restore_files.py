"""A restore is whole or not at all, and keeps what was there."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from supervisor.errors import (
    CommandConflict,
    StoreDamaged,
    StoreTooNew,
    StoreUnavailable,
)
from supervisor.ledger.gaps import Spent
from supervisor.ledger.holds import find_account
from supervisor.maintenance import restore as restore_module
from supervisor.storage import sqlite_copies
from tests.unit.governance.recorded_life import RecordedLife
from tests.unit.maintenance.restored_site import (
    RestoredSite,
    spending,
    two_eras,
)

DAY = "system/day/2026-06-01/micro_usd"


# --- whole or not at all


async def test_the_store_that_was_there_is_kept_as_it_was(site: RestoredSite) -> None:
    await two_eras(site)
    before = site.store.read_bytes()
    restored = await site.restore()
    kept = Path(restored.kept_as)
    assert kept.name == "supervisor.db.before-restore-20260601T103003Z"
    assert kept.read_bytes() == before
    assert site.files() == {"supervisor.db", "backup.db", kept.name}
    assert site.store.stat().st_mode & 0o777 == 0o600


async def test_the_log_of_a_dead_daemon_is_read_and_kept(site: RestoredSite) -> None:
    await site.live(spending(100_000))
    await site.back_up()

    async def die(life: RecordedLife) -> None:
        await spending(200_000)(life)
        for path in (site.store, Path(f"{site.store}-wal")):
            sqlite_copies._copy_file(path, path.with_name(f"dead{path.name}"))

    await site.live(die)
    for suffix in ("", "-wal"):
        site.store.with_name(f"deadsupervisor.db{suffix}").replace(f"{site.store}{suffix}")
    wal = Path(f"{site.store}-wal")
    assert wal.stat().st_size > 0
    restored = await site.restore()
    assert not wal.exists()
    assert restored.is_known
    assert site.balances()[DAY] == (300_000, 0)
    assert Path(f"{restored.kept_as}-wal").exists()


async def test_a_damaged_backup_is_refused_and_nothing_is_changed(site: RestoredSite) -> None:
    await two_eras(site)
    content = bytearray(site.backup.read_bytes())
    content[8192 : 8192 + 2048] = b"\xff" * 2048
    site.backup.write_bytes(content)
    await _refused(site, StoreDamaged)


async def test_a_truncated_backup_is_refused_and_nothing_is_changed(site: RestoredSite) -> None:
    await two_eras(site)
    os.truncate(site.backup, site.backup.stat().st_size // 2)
    await _refused(site, StoreDamaged)


async def test_a_backup_with_an_edited_balance_is_refused(site: RestoredSite) -> None:
    await two_eras(site)
    connection = sqlite3.connect(site.backup)
    with connection:
        connection.execute("UPDATE accounts SET settled = 0")
    connection.close()
    await _refused(site, StoreDamaged)


async def test_a_backup_of_a_newer_version_is_refused(site: RestoredSite) -> None:
    await two_eras(site)
    connection = sqlite3.connect(site.backup)
    with connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'future', 'x', 0)")
    connection.close()
    await _refused(site, StoreTooNew)


async def _refused(site: RestoredSite, error: type[Exception]) -> None:
    before, files = site.store.read_bytes(), site.files()
    with pytest.raises(error):
        await site.restore()
    assert site.store.read_bytes() == before
    assert site.files() == files


async def test_a_write_meanwhile_is_not_lost_but_refuses_the_restore(
    site: RestoredSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_eras(site)
    record = restore_module.__dict__["record_restore"]

    def kill_meanwhile(*args: object, **kw: object) -> object:
        connection = sqlite3.connect(site.store)
        with connection:
            connection.execute("INSERT INTO kill_latches VALUES ('system', 1, 'bob', 'now', 1)")
        connection.close()
        return record(*args, **kw)

    monkeypatch.setattr(restore_module, "record_restore", kill_meanwhile)
    with pytest.raises(StoreUnavailable, match="was written to while"):
        await site.restore()
    assert site.rows("SELECT scope FROM kill_latches WHERE is_engaged = 1") == [("system",)]
    assert site.balances()[DAY] == (300_000, 0)


@pytest.mark.parametrize("step", range(1, 9))
async def test_a_power_cut_during_the_swap_never_leaves_a_store_that_forgot(
    site: RestoredSite, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    await two_eras(site)
    steps = 0

    def cut(*_args: object) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(sqlite_copies, "sync_folder", cut)
    monkeypatch.setattr(sqlite_copies, "sync_file", cut)
    try:
        await site.restore()
    except KeyboardInterrupt:
        monkeypatch.undo()
    try:
        assert await site.live(_settled_today) == 300_000
    except StoreDamaged as refused:
        assert "is empty" in refused.what  # and a start refuses it
        (kept,) = site.store.parent.glob("supervisor.db.before-restore-*")
        kept.replace(site.store)
        assert await site.live(_settled_today) == 300_000


async def _settled_today(life: RecordedLife) -> int:
    account = await life.store.read(find_account, DAY)
    return 0 if account is None else account.settled


async def test_the_same_command_twice_restores_once(site: RestoredSite) -> None:
    await two_eras(site)
    first = await site.restore(command_id="once")
    await site.live(spending(50_000))
    assert await site.restore(command_id="once") == first
    assert site.balances()[DAY] == (350_000, 0)
    with pytest.raises(CommandConflict, match="spent"):
        await site.restore(Spent(cost=1), command_id="once")
