"""The SQLite driver: whole functions on the connection's thread, committed in groups."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from supervisor.errors import StoreUnavailable
from supervisor.redaction import REDACTION
from supervisor.storage import statements
from supervisor.storage.answers import Answers
from supervisor.storage.database import P, RowT, T, Transaction, TransactionFunction, Value, closed
from supervisor.storage.group_commit import (
    Batch,
    Committed,
    GroupCommit,
    MemberFailed,
    bind,
    parse,
    perform_apart,
    perform_together,
)
from supervisor.storage.memory import Later, Memory, RememberingTransaction, Waiting
from supervisor.storage.sqlite_connection import Connection, connect, translate

DIALECT = "sqlite"
_MTIME_GRANULARITY_S = 0.05

#: The columns of each statement's rows, by its text; as many as there are statements.
_columns_by_text: dict[str, tuple[str, ...]] = {}
#: The texts of those that are written together: values by their place are bound faster.
_positional_by_statement: dict[Later, str] = {}


class SqliteTransaction(RememberingTransaction):
    """One transaction; used only on its connection's thread.

    Whoever commits it calls `flush` before.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        statements_by_name: dict[str, str],
        memory: Memory | None = None,
    ) -> None:
        super().__init__(statements_by_name, memory)
        self._connection = connection

    def run(self, statement: str, /, **values: Value) -> int:
        text = self._named[statement]
        self._before(text)
        return self._connection.execute(text, REDACTION.values(values)).rowcount

    def rows(self, statement: str, into: type[RowT], /, **values: Value) -> list[RowT]:
        return list(self.each(statement, into, **values))

    def row(self, statement: str, into: type[RowT], /, **values: Value) -> RowT | None:
        text = self._named[statement]
        self._before(text)
        cursor = self._connection.execute(text, REDACTION.values(values))
        found = cursor.fetchone()
        cursor.close()
        return None if found is None else parse(_columns(text, cursor), found, into)

    def each(self, statement: str, into: type[RowT], /, **values: Value) -> Iterator[RowT]:
        text = self._named[statement]
        self._before(text)
        cursor = self._connection.execute(text, REDACTION.values(values))
        for found in cursor:
            yield parse(_columns(text, cursor), found, into)

    def copies(self, statement: str, /, **values: Value) -> list[dict[str, Value]]:
        text = self._named[statement]
        self._before(text)
        cursor = self._connection.execute(text, values)
        columns = _columns(text, cursor)
        return [dict(zip(columns, found, strict=True)) for found in cursor.fetchall()]

    def _run_all(self, waiting: Waiting) -> list[int]:
        run = self._connection.executemany
        return [run(self._positional(later), rows).rowcount for later, rows in waiting]

    def _positional(self, later: Later) -> str:
        text = _positional_by_statement.get(later)
        if text is None:
            text = statements.placed(self._named[later.statement], later.columns)
            _positional_by_statement[later] = text
        return text


def _columns(text: str, cursor: sqlite3.Cursor) -> tuple[str, ...]:
    columns = _columns_by_text.get(text)
    if columns is None:
        columns = tuple(column[0] for column in cursor.description)
        _columns_by_text[text] = columns
    return columns


class SqliteDatabase:
    """One writing connection with group commit, and one reading connection.

    Writes that wait while a commit runs share the next one's fsync; there is no delay to gather
    them. A failing member rolls back alone.
    Only this object writes through its connection; other processes write through their own.
    """

    def __init__(self, writer: Connection, path: Path, *, is_read_only: bool) -> None:
        self._writer = writer
        self._reader: Connection | None = None
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._is_read_only = is_read_only
        self._statements = statements.load(DIALECT)
        self._group = GroupCommit(self._commit, subject=writer.subject)
        self._committer = Committer(self._statements, path, writer.answers)
        self._seen_version = -1
        self._quiet_wal: tuple[int, int] | None = None
        self._opening_reader = asyncio.Lock()

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        return self._group.write(function, *args, **kwargs)

    def _commit(self, batch: Batch) -> asyncio.Future[Committed]:
        return self._writer.submit(functools.partial(self._committer.commit, batch))

    async def read(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        reader = await self._open_reader()
        bound = bind(function, args, kwargs)
        return await reader.submit(
            functools.partial(_snapshot, bound, self._statements, self._path)
        )

    async def _open_reader(self) -> Connection:
        if self._is_read_only:
            return self._writer
        async with self._opening_reader:
            if self._reader is None:
                if self._group.is_closed:
                    raise closed(self._writer.subject)
                self._reader = await connect(self._path, is_read_only=True)
        return self._reader

    def listen(self, listener: Callable[[Sequence[object]], None]) -> None:
        self._group.listen(listener)

    def heed(self, listener: Callable[[], None]) -> None:
        """Hear nothing: no process tells another of its commits here."""

    async def has_foreign_commits(self) -> bool:
        # The log's size and time answer most calls without a turn on the thread. They are
        # trusted only once they are older than the clock's grain in the file system.
        stamp, is_settled = self._wal_stamp()
        if stamp == self._quiet_wal:
            return False
        version = await self._writer.submit(_data_version)
        self._quiet_wal = stamp if is_settled else None
        has_changed = self._seen_version not in (-1, version)
        self._seen_version = version
        return has_changed

    def _wal_stamp(self) -> tuple[tuple[int, int], bool]:
        try:
            stat = self._wal.stat()
        except FileNotFoundError:
            return (0, 0), False
        age_s = time.time() - stat.st_mtime
        return (stat.st_mtime_ns, stat.st_size), age_s > _MTIME_GRANULARITY_S

    def write_failures(self) -> int:
        return self._group.failures

    def size_bytes(self) -> int:
        return self._wal_stamp()[0][1]

    async def close(self) -> None:
        await self._group.finish()
        async with self._opening_reader:
            if self._reader is not None:
                await self._reader.close()
        # Last: it is the one that leaves no log behind.
        await self._writer.close()


class Committer:
    """Commits batches one after the other; used only on its connection's thread.

    What one batch knows of rows is true for the next, as long as no other connection has
    committed in between and this one has committed what it did.
    """

    def __init__(self, statements_by_name: dict[str, str], path: Path, answers: Answers) -> None:
        self._statements = statements_by_name
        self._answers = answers
        self._path = path
        self._file = _file_at(path)
        self._memory = Memory()
        self._version = -1

    def commit(self, batch: Batch, connection: sqlite3.Connection) -> Committed:
        """Run a batch as one transaction and commit it.

        Savepoints cost more than most of what they would guard, and hardly any member ever fails:
        a batch with one that does is rolled back, and run again with them.

        Raises:
            StoreUnavailable: nothing of it is kept.
        """
        self._check_in_place()
        try:
            try:
                return self._in_transaction(self._together, batch, connection)
            except MemberFailed:
                return self._in_transaction(self._apart, batch, connection)
        except sqlite3.Error as error:
            raise translate(error, self._path) from error

    def _check_in_place(self) -> None:
        """Refuse to write where nobody will ever look: into a file that has lost its name.

        A kill of the command line would be in another file, and a restart would not know what was
        spent.
        """
        if _file_at(self._path) != self._file:
            raise StoreUnavailable(
                subject=f"store {self._path}",
                what="is gone: its file was deleted, moved or replaced while in use; nothing was"
                " written",
                fix="put the same file back, or stop the daemon and restore a backup",
            )

    def _in_transaction(
        self,
        perform: Callable[[Batch, sqlite3.Connection], Committed],
        batch: Batch,
        connection: sqlite3.Connection,
    ) -> Committed:
        is_committed = False
        try:
            connection.execute("BEGIN IMMEDIATE")
            done = perform(batch, connection)
            self._answers.give_meanwhile()
            began_s = time.perf_counter()
            connection.execute("COMMIT")
            done.waited_s = time.perf_counter() - began_s
            is_committed = True
        finally:
            if not is_committed:
                self._memory.forget()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return done

    def _together(self, batch: Batch, connection: sqlite3.Connection) -> Committed:
        # Asked inside the transaction: from here on nobody else can commit.
        version = _data_version(connection)
        if version != self._version:
            self._memory.forget()
            self._version = version
        self._memory.stay_small()
        return perform_together(
            batch, SqliteTransaction(connection, self._statements, self._memory)
        )

    def _apart(self, batch: Batch, connection: sqlite3.Connection) -> Committed:
        def begin() -> SqliteTransaction:
            return SqliteTransaction(connection, self._statements)

        def told(error: Exception) -> Exception | None:
            if not connection.in_transaction:
                # SQLite rolled the whole transaction back (disk full, I/O error): nobody's is kept.
                return None
            return translate(error, self._path) if isinstance(error, sqlite3.Error) else error

        done = perform_apart(batch, begin, connection.execute, told)
        # What these have changed, nobody has remembered.
        self._memory.forget()
        return done


def _snapshot(
    function: Callable[[Transaction], T],
    statements_by_name: dict[str, str],
    path: Path,
    connection: sqlite3.Connection,
) -> T:
    try:
        connection.execute("BEGIN")
        try:
            tx = SqliteTransaction(connection, statements_by_name)
            result = function(tx)
            tx.flush()
            return result
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _file_at(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _data_version(connection: sqlite3.Connection) -> int:
    # https://www.sqlite.org/pragma.html#pragma_data_version (read 2026-11-21): it changes when
    # another connection has committed, and never by this one's own commits.
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)
