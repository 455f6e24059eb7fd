"""What can be said of a SQLite store that may be damaged, locked or grown."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from supervisor.storage.sqlite_connection import BUSY_TIMEOUT_S

_FINDINGS_MAX = 5
_TRY_EVERY_S = 0.05


class TableState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a table reads; `error` is empty where it reads to its end."""

    name: str
    rows: int
    error: str = ""


class StoreDiagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; `tables` only where pages are damaged, `lockers` only where it is locked."""

    pages: tuple[str, ...] = ()
    tables: tuple[TableState, ...] = ()
    is_locked: bool = False
    lockers: tuple[str, ...] = ()
    wal_bytes: int = 0


def diagnose(path: Path, *, patience_s: float = 1.0) -> StoreDiagnosis:
    """Look at a store's pages, tables, log and lock; nothing is changed.

    Every page is read, so that it takes as long as the file is large. `patience_s` is how long the
    lock is tried before somebody counts as holding it.
    """
    pages = tuple(_pages(path))
    is_locked = not pages and not _takes_lock(path, patience_s)
    wal = path.with_name(f"{path.name}-wal")
    return StoreDiagnosis(
        pages=pages,
        tables=tuple(_tables(path)) if pages else (),
        is_locked=is_locked,
        lockers=tuple(_lockers(path)) if is_locked else (),
        wal_bytes=wal.stat().st_size if wal.exists() else 0,
    )


def _pages(path: Path) -> list[str]:
    try:
        with _Reading(path) as connection:
            query = f"PRAGMA quick_check({_FINDINGS_MAX})"
            found = [" ".join(str(row[0]).split()) for row in connection.execute(query)]
    except sqlite3.Error as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _tables(path: Path) -> Iterator[TableState]:
    try:
        with _Reading(path) as connection:
            query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            for (name,) in connection.execute(query).fetchall():
                yield _read_through(connection, str(name))
    except sqlite3.Error as error:
        yield TableState(name="(the list of tables)", rows=0, error=str(error))


def _read_through(connection: sqlite3.Connection, table: str) -> TableState:
    rows = 0
    try:
        # Quoted as an identifier; it comes from the database itself, which may be damaged.
        quoted = table.replace('"', '""')
        for _ in connection.execute(f'SELECT * FROM "{quoted}" NOT INDEXED'):  # noqa: S608 - as above
            rows += 1
    except sqlite3.Error as error:
        return TableState(name=table, rows=rows, error=str(error))
    return TableState(name=table, rows=rows)


def _takes_lock(path: Path, patience_s: float) -> bool:
    """Return whether the lock of writers can be had; it is given back at once."""
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            with _Reading(path, mode="rw") as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            return True
        except sqlite3.OperationalError as error:
            if not (getattr(error, "sqlite_errorname", "") or "").startswith("SQLITE_BUSY"):
                return True  # not a matter of the lock: the state directory's checks say what
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_TRY_EVERY_S)


def _lockers(path: Path) -> Iterator[str]:
    """Yield the processes that hold a lock on the store's files, as far as Linux tells."""
    try:
        held = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return
    inodes = {
        str(file.stat().st_ino)
        for file in (path, path.with_name(f"{path.name}-shm"))
        if file.exists()
    }
    seen: set[str] = set()
    for line in held.splitlines():
        # 1: POSIX  ADVISORY  WRITE 1234 fd:00:5678 120 120 - https://man7.org proc_locks(5)
        _, _, _, how, pid, file, *_ = [*line.split(), "", "", "", "", "", ""]
        if how == "WRITE" and file.rpartition(":")[2] in inodes and pid not in seen:
            seen.add(pid)
            yield f"pid {pid}{_command_of(pid)}"


def _command_of(pid: str) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    text = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return f" ({text[:120]})" if text else ""


class _Reading:
    """A connection that is closed with its block."""

    def __init__(self, path: Path, *, mode: str = "ro") -> None:
        timeout_s = 0.0 if mode == "rw" else BUSY_TIMEOUT_S
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=timeout_s,
        )

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()
