"""A SQLite connection that runs whole functions on its own thread."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite

from supervisor.errors import StoreDamaged, StoreUnavailable
from supervisor.storage.answers import Answers
from supervisor.storage.database import closed

BUSY_TIMEOUT_S = 5.0
_ITER_CHUNK_SIZE = 64

R = TypeVar("R")


class Connection(aiosqlite.Connection):
    """aiosqlite's connection with one more method: run a function on its thread."""

    def __init__(self, connector: Callable[[], sqlite3.Connection], *, subject: str) -> None:
        super().__init__(connector, _ITER_CHUNK_SIZE)
        #: The store's name in its errors.
        self.subject = subject
        self._is_closed = False
        # A connection that nobody closed must not keep a process alive that wants to end.
        self._thread.daemon = True
        self.answers = Answers()

    def submit(self, function: Callable[[sqlite3.Connection], R]) -> asyncio.Future[R]:
        """Queue `function`; it runs also when the future is cancelled."""
        if self._is_closed:
            # Its thread has ended, or is about to: nobody would ever answer.
            refused: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            refused.set_exception(closed(self.subject))
            return refused
        future, run = self.answers.ask(lambda: function(self._conn))
        self._tx.put_nowait((None, functools.partial(self._run, run)))
        return future

    async def close(self) -> None:
        """Finish what was queued, then end the connection and its threads."""
        self._is_closed = True
        await super().close()
        self.answers.give()
        self.answers.close()

    def _run(self, run: Callable[[], None]) -> None:
        run()
        if self._tx.empty():
            self.answers.give()


async def connect(path: Path, *, is_read_only: bool) -> Connection:
    mode = "ro" if is_read_only else "rw"

    def connector() -> sqlite3.Connection:
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_S,
            cached_statements=256,
            check_same_thread=False,
        )

    try:
        connection = Connection(connector, subject=_subject(path))
        await connection
        return connection
    except sqlite3.Error as error:
        raise translate(error, path) from error


def translate(error: sqlite3.Error, path: Path) -> Exception:
    """Return the store's error for SQLite's; a broken constraint is our bug and stays itself."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return error
    subject = _subject(path)
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreDamaged(
            subject=subject,
            what=f"is damaged ({error}); nothing was written",
            fix="stop the daemon, keep the file, and restore a backup in its place",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreUnavailable(
            subject=subject,
            what=f"was locked for {BUSY_TIMEOUT_S:g} s by another process",
            fix="end the process that holds it (a backup, a database shell)",
        )
    if name.startswith("SQLITE_FULL"):
        return StoreUnavailable(
            subject=subject, what="the disk is full; nothing was written", fix="free some space"
        )
    return StoreUnavailable(
        subject=subject,
        what=f"{error}; nothing was written",
        fix="check that the file and its folder are there, writable, and on a healthy disk",
    )


def _subject(path: Path) -> str:
    return f"store {path}"
