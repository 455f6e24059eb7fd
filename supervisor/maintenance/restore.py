"""Putting a backup back in the store's place, so that it refunds nothing and unkills nobody."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import msgspec

from supervisor.clock import to_us
from supervisor.errors import CommandConflict, StoreUnavailable
from supervisor.events.log import Origin
from supervisor.governance.audit import audit
from supervisor.governance.commands import done_before
from supervisor.governance.kept import BackupFacts, Kept, backup_facts, read_kept
from supervisor.governance.restoring import RestoreCommand, Restored, record_restore
from supervisor.ledger.gaps import Spent
from supervisor.maintenance.backup import prove
from supervisor.maintenance.witness import check_not_behind, read_witness
from supervisor.storage import sqlite_copies
from supervisor.storage.database import Database, Transaction
from supervisor.storage.sqlite_file import open_sqlite


class RestoreOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which backup to put in which store's place; `spent` is what a person knows of since.

    `heartbeat` is the file in which the last daemon has said what the store knew.
    """

    backup: Path
    store: Path
    why: str
    spent: Spent = Spent()
    heartbeat: Path | None = None


async def restore(order: RestoreOrder, *, origin: Origin, timezone: ZoneInfo) -> Restored:
    """Check the backup, take over what the present store knows, and swap the two.

    The caller holds the state directory's lock. Nothing is changed unless all of it succeeds; the
    present store is kept beside, under the name that the answer says. See docs/decisions/0025 for
    what is taken over.

    Raises:
        StoreDamaged: the backup is not sound.
        StoreUnavailable: a file can't be read or written, or somebody wrote to the store meanwhile.
        CommandConflict: the command id was used for something else.
    """
    fresh = order.store.with_name(f".{order.store.name}.{os.getpid()}.restoring")
    look = order.store.with_name(f".{order.store.name}.{os.getpid()}.present")
    try:
        return await _restore(order, fresh, look, origin, timezone)
    finally:
        sqlite_copies.remove(fresh)
        sqlite_copies.remove(look)


async def _restore(
    order: RestoreOrder, fresh: Path, look: Path, origin: Origin, timezone: ZoneInfo
) -> Restored:
    now_us = to_us(origin.at)
    sha256 = await anyio.to_thread.run_sync(sqlite_copies.digest, order.backup)
    command = RestoreCommand(backup_sha256=sha256, why=order.why, spent=order.spent)
    sqlite_copies.remove(fresh)
    await anyio.to_thread.run_sync(sqlite_copies.copy_store, order.backup, fresh)
    facts = await _check_backup(fresh, now_us)
    seen = sqlite_copies.stamp(order.store)
    kept = await _look(order, look, facts, command, origin)
    if isinstance(kept, Restored):
        return kept
    aside = _free_name(order.store, origin)
    async with opened_file(fresh, now_us) as database:
        restored = await database.write(
            record_restore, command, kept, origin, timezone, str(aside) if _exists(seen) else ""
        )
    await prove(fresh, now_us=now_us)
    if sqlite_copies.stamp(order.store) != seen:
        raise StoreUnavailable(
            subject=f"store {order.store}",
            what="was written to while it was to be replaced; nothing was changed",
            fix="let no other command run meanwhile, and try again",
        )
    sqlite_copies.put_in_place(fresh, order.store, aside)
    return restored


async def _check_backup(fresh: Path, now_us: int) -> BackupFacts:
    """Migrate the copy of the backup where it is older, and prove it."""
    await anyio.to_thread.run_sync(sqlite_copies.check_whole, fresh)
    async with opened_file(fresh, now_us) as database:
        facts = await database.read(backup_facts)
    await prove(fresh, now_us=now_us)
    return facts


async def _look(
    order: RestoreOrder, look: Path, facts: BackupFacts, command: RestoreCommand, origin: Origin
) -> Kept | Restored | None:
    """Return what the present store knows, None where it can't be read or proved, or lost commits.

    Returns the first answer where it says that this very command was carried out already.
    """
    if not any(sqlite_copies.stamp(order.store).files):
        return None
    sqlite_copies.remove(look)
    await anyio.to_thread.run_sync(sqlite_copies.copy_files, order.store, look)
    try:
        async with opened_file(look, to_us(origin.at)) as database:
            done = await database.read(done_before, "restore", command, origin, result=Restored)
            return (
                done
                if done is not None
                else await _read_proved(database, look, facts, order.heartbeat)
            )
    except CommandConflict:
        raise
    except Exception:  # noqa: BLE001 - whatever a damaged store does: it is not known what it knew
        return None


async def _read_proved(
    database: Database, look: Path, facts: BackupFacts, heartbeat: Path | None
) -> Kept | None:
    await anyio.to_thread.run_sync(sqlite_copies.check_whole, look)
    if heartbeat is not None:
        # Whole as far as it goes is not enough: what is missing may be what was spent.
        await database.read(check_not_behind, read_witness(heartbeat), heartbeat)
    return await database.read(_kept_if_proved, facts)


def _kept_if_proved(tx: Transaction, facts: BackupFacts) -> Kept | None:
    return read_kept(tx, facts) if audit(tx).is_clean else None


@asynccontextmanager
async def opened_file(path: Path, now_us: int) -> AsyncIterator[Database]:
    """Open a SQLite store, migrate it where it is older, and close it."""
    database = await open_sqlite(path, now_us=now_us, is_read_only=False)
    try:
        yield database
    finally:
        await database.close()


def _exists(seen: sqlite_copies.Stamp) -> bool:
    return any(seen.files)


def _free_name(store: Path, origin: Origin) -> Path:
    stamp = origin.at.strftime("%Y%m%dT%H%M%SZ")
    stem = f"{store.name}.before-restore-{stamp}"
    path, number = store.with_name(stem), 1
    while any(sqlite_copies.stamp(path).files):
        number += 1
        path = store.with_name(f"{stem}-{number}")
    return path


def restored_in_place(
    tx: Transaction, command: RestoreCommand, origin: Origin, timezone: ZoneInfo
) -> Restored:
    """Record that the store was put back by other means: a copied file, pg_restore.

    What was there before is gone, so that nothing of it is known.
    """
    return record_restore(tx, command, None, origin, timezone)
