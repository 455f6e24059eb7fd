"""Backing the store up while it is in use, and proving the copy before it gets its name."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import msgspec

from supervisor.clock import from_us, iso
from supervisor.errors import StoreDamaged
from supervisor.governance.audit import AuditReport, audit
from supervisor.governance.kept import backup_facts
from supervisor.storage import sqlite_copies
from supervisor.storage.database import Transaction
from supervisor.storage.sqlite_file import open_sqlite


class BackedUp(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was made and proved; `as_of` is the last thing that it knows."""

    file: str
    bytes: int
    as_of: str
    events: int


async def back_up(store: Path, target: Path, *, now_us: int, may_replace: bool) -> BackedUp:
    """Copy the store to `target`, which appears whole and proved, or not at all.

    Proved: every page is whole, the schema is this version's, and the audit finds nothing.

    Raises:
        StoreUnavailable: the store can't be read, or the target not be written or replaced.
        StoreDamaged: the copy is not sound; nothing is kept of it.
    """
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    sqlite_copies.remove(fresh)
    try:
        await anyio.to_thread.run_sync(sqlite_copies.copy_store, store, fresh)
        as_of, report = await prove(fresh, now_us=now_us)
        size = fresh.stat().st_size
        sqlite_copies.keep_beside(fresh, target, may_replace=may_replace)
    finally:
        sqlite_copies.remove(fresh)
    return BackedUp(file=str(target), bytes=size, as_of=as_of, events=report.events)


async def prove(path: Path, *, now_us: int) -> tuple[str, AuditReport]:
    """Prove a store that nobody writes to, and return the last moment that it knows.

    Raises:
        StoreDamaged: a page is damaged, or the audit finds something.
        StoreUnavailable: it can't be read, or is of another version.
    """
    await anyio.to_thread.run_sync(sqlite_copies.check_whole, path)
    database = await open_sqlite(path, now_us=now_us, is_read_only=True)
    try:
        at, report = await database.read(_prove)
    finally:
        await database.close()
    if not report.is_clean:
        raise StoreDamaged(
            subject=f"store {path}",
            what=f"does not pass the audit, {report.findings_total} differences; the first:"
            f" {report.findings[0].text}",
            fix="`supervisor audit` lists them; keep a copy of all files and report it",
        )
    return iso(from_us(at)), report


def _prove(tx: Transaction) -> tuple[int, AuditReport]:
    return backup_facts(tx).at, audit(tx)
