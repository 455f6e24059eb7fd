"""Opening a SQLite store: checked, made whole or not at all, migrated."""

from __future__ import annotations

import functools
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from supervisor.errors import StoreDamaged, StoreUnavailable
from supervisor.storage import migrate
from supervisor.storage.sqlite import DIALECT, SqliteDatabase
from supervisor.storage.sqlite_connection import connect, translate

_APPLICATION_ID = 0x41435053  # "ACPS", in the file's header: this database is ours
_WAL_BYTES_KEPT = 16 * 1024 * 1024
# A checkpoint costs two syncs, and writes a page once however often it stands in the log. SQLite's
# own 1,000 pages are written here by thirty ticks; these 4,000 fill what is kept of the log anyway.
_WAL_PAGES_BEFORE_CHECKPOINT = 4_000


async def open_sqlite(path: Path, *, now_us: int, is_read_only: bool) -> SqliteDatabase:
    """Open the store at `path`; a new one is made beside it and renamed, so never half-made.

    Raises:
        StoreUnavailable: it can't be opened, is damaged, or is of another version.
    """
    _check_file(path, must_exist=is_read_only)
    if not path.exists():
        await _create(path, now_us)
    connection = await connect(path, is_read_only=is_read_only)
    try:
        prepare = functools.partial(_prepare, path=path, now_us=now_us, is_read_only=is_read_only)
        await connection.submit(prepare)
    except BaseException:
        await connection.close()
        raise
    return SqliteDatabase(connection, path, is_read_only=is_read_only)


def _check_file(path: Path, *, must_exist: bool) -> None:
    wal = path.with_name(path.name + "-wal")
    if path.exists() and path.stat().st_size == 0:
        raise StoreDamaged(
            subject=f"store {path}",
            what="is empty: what was spent is not known",
            fix="restore a backup; only if it never held anything, delete the file",
        )
    if not path.exists() and wal.exists():
        raise StoreDamaged(
            subject=f"store {path}",
            what=f"is gone, but its log {wal.name} is there: what was spent is not known",
            fix="put the database file back beside its log, or restore a backup",
        )
    if must_exist and not path.exists():
        raise StoreUnavailable(
            subject=f"store {path}",
            what="does not exist",
            fix="start the daemon once with `supervisor run`, or name another config",
        )


async def _create(path: Path, now_us: int) -> None:
    # Not by the pid alone: two containers that share a volume are both 1.
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.new")
    try:
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = await connect(fresh, is_read_only=False)
        try:
            await connection.submit(functools.partial(_make_whole, path=path, now_us=now_us))
        finally:
            await connection.close()
        # Two daemons that start at once: the first name wins, the other opens that one.
        os.link(fresh, path)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreUnavailable(
            subject=f"store {path}",
            what=f"can't be made: {error.strerror}",
            fix="make its folder writable for this user, or set [supervisor] state_dir",
        ) from error
    finally:
        for leftover in path.parent.glob(f"{fresh.name}*"):
            leftover.unlink(missing_ok=True)


def _make_whole(connection: sqlite3.Connection, *, path: Path, now_us: int) -> None:
    _prepare(connection, path=path, now_us=now_us, is_read_only=False)
    try:
        # Closing would do it too, but tells nobody where the disk has no room for all of it.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise translate(error, path) from error


def prepare_fresh(connection: sqlite3.Connection, path: Path) -> None:
    """Give an empty database, which `connection` has open, every table of this version."""
    _prepare(connection, path=path, now_us=0, is_read_only=False)


def _prepare(
    connection: sqlite3.Connection, *, path: Path, now_us: int, is_read_only: bool
) -> None:
    try:
        has_tables = _is_ours(connection, path)
        connection.execute("PRAGMA foreign_keys = ON")
        if not is_read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: a spent cent is on disk before its call starts.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES_BEFORE_CHECKPOINT}")
        applied = _applied(connection) if has_tables else []
        _migrate(connection, path, applied, now_us=now_us, is_read_only=is_read_only)
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether there are tables, before anything is changed; all of them must be ours."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if tables and application_id != _APPLICATION_ID:
        raise StoreDamaged(
            subject=f"store {path}",
            what="is a database, but not one of the supervisor's; nothing was changed",
            fix="set [supervisor] database to another file",
        )
    return bool(tables)


def _migrate(
    connection: sqlite3.Connection,
    path: Path,
    applied: list[migrate.Applied],
    *,
    now_us: int,
    is_read_only: bool,
) -> None:
    todo = migrate.pending(migrate.available(DIALECT), applied, store=str(path))
    if todo and is_read_only:
        raise StoreUnavailable(
            subject=f"store {path}",
            what=f"was written by an older version (schema {todo[0].number} is missing)",
            fix="start the daemon once with `supervisor run`: it migrates the store",
        )
    for migration in todo:
        _apply(connection, migration, now_us)


def _applied(connection: sqlite3.Connection) -> list[migrate.Applied]:
    rows = connection.execute("SELECT number, name, checksum FROM schema_migrations")
    return [migrate.Applied(number=row[0], name=row[1], checksum=row[2]) for row in rows]


def _apply(connection: sqlite3.Connection, migration: migrate.Migration, now_us: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _split(migration.sql):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(
            "INSERT INTO schema_migrations (number, name, checksum, applied_at)"
            " VALUES (?, ?, ?, ?)",
            (migration.number, migration.name, migration.checksum, now_us),
        )
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _split(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
