"""The SQLite driver: whole functions on the connection's thread, committed in groups."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic

import msgspec

from supervisor.storage import statements
from supervisor.storage.database import P, RowT, T, Transaction, TransactionFunction, Value
from supervisor.storage.sqlite_connection import Connection, connect, translate

DIALECT = "sqlite"
_BATCH_MAX = 256
_MTIME_GRANULARITY_S = 0.05


class SqliteTransaction:
    """One transaction; used only on its connection's thread."""

    __slots__ = ("_connection", "_statements", "published")

    def __init__(self, connection: sqlite3.Connection, statements_by_name: dict[str, str]) -> None:
        self._connection = connection
        self._statements = statements_by_name
        self.published: list[object] = []

    def run(self, statement: str, /, **values: Value) -> int:
        return self._connection.execute(self._statements[statement], values).rowcount

    def rows(self, statement: str, into: type[RowT], /, **values: Value) -> list[RowT]:
        return list(self.each(statement, into, **values))

    def row(self, statement: str, into: type[RowT], /, **values: Value) -> RowT | None:
        cursor = self._connection.execute(self._statements[statement], values)
        found = cursor.fetchone()
        cursor.close()
        return None if found is None else _parse(cursor, found, into)

    def each(self, statement: str, into: type[RowT], /, **values: Value) -> Iterator[RowT]:
        cursor = self._connection.execute(self._statements[statement], values)
        for found in cursor:
            yield _parse(cursor, found, into)

    def publish(self, fact: object) -> None:
        self.published.append(fact)


def _parse(cursor: sqlite3.Cursor, found: tuple[Value, ...], into: type[RowT]) -> RowT:
    named = {column[0]: value for column, value in zip(cursor.description, found, strict=True)}
    return msgspec.convert(named, into, strict=False)


class _Write(Generic[T]):
    """A function that waits for its commit, and the future of whoever asked for it."""

    __slots__ = ("function", "future")

    def __init__(self, function: Callable[[Transaction], T], future: asyncio.Future[T]) -> None:
        self.function = function
        self.future = future

    def perform(self, tx: Transaction) -> Callable[[], None]:
        """Run the function and return what gives its result to the caller."""
        result = self.function(tx)
        return lambda: None if self.future.done() else self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class SqliteDatabase:
    """One writing connection with group commit, and one reading connection.

    Writes that wait while a commit runs become savepoints of the next one and share its fsync;
    there is no delay to gather them. A failing member rolls back alone.
    Only this object writes through its connection; other processes write through their own.
    """

    def __init__(self, writer: Connection, path: Path, *, is_read_only: bool) -> None:
        self._writer = writer
        self._reader: Connection | None = None
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._is_read_only = is_read_only
        self._statements = statements.load(DIALECT)
        self._pending: list[_Write[object]] = []
        self._is_committing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._listeners: list[Callable[[Sequence[object]], None]] = []
        self._seen_version = -1
        self._failures = 0
        self._quiet_wal: tuple[int, int] | None = None
        self._opening_reader = asyncio.Lock()

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        bound = functools.partial(_call, function, args, kwargs)
        self._pending.append(_Write(bound, future))  # type: ignore[arg-type] # one list, many T
        if not self._is_committing:
            # Not at once but in the loop's next turn: what is written in this turn shares it.
            self._is_committing = True
            self._idle.clear()
            loop.call_soon(self._commit_next)
        return future

    def _commit_next(self) -> None:
        batch, self._pending = self._pending[:_BATCH_MAX], self._pending[_BATCH_MAX:]
        if not batch:
            self._is_committing = False
            self._idle.set()
            return
        commit = functools.partial(_commit, batch, self._statements, self._path)
        future = self._writer.submit(commit)
        future.add_done_callback(functools.partial(self._answer, batch))

    def _answer(
        self, batch: list[_Write[object]], committed: asyncio.Future[_CommitResult]
    ) -> None:
        error = committed.exception()
        if error is not None:
            self._failures += 1
            for write in batch:
                write.fail(error)
        else:
            deliveries, published = committed.result()
            if published:
                self._tell(published)
            for deliver in deliveries:
                deliver()
        self._commit_next()

    def _tell(self, published: Sequence[object]) -> None:
        for listener in self._listeners:
            try:
                listener(published)
            except Exception as error:  # noqa: BLE001 - a listener's border: the commit stands
                told = {"message": "a listener of the store failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(told)

    async def read(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        reader = await self._open_reader()
        bound = functools.partial(_call, function, args, kwargs)
        return await reader.submit(
            functools.partial(_snapshot, bound, self._statements, self._path)
        )

    async def _open_reader(self) -> Connection:
        if self._is_read_only:
            return self._writer
        async with self._opening_reader:
            if self._reader is None:
                self._reader = await connect(self._path, is_read_only=True)
        return self._reader

    def listen(self, listener: Callable[[Sequence[object]], None]) -> None:
        self._listeners.append(listener)

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
        return self._failures

    def size_bytes(self) -> int:
        return self._wal_stamp()[0][1]

    async def close(self) -> None:
        await self._idle.wait()
        if self._reader is not None:
            await self._reader.close()
        await self._writer.close()


_CommitResult = tuple[list[Callable[[], None]], list[object]]


def _call(
    function: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object], tx: Transaction
) -> T:
    return function(tx, *args, **kwargs)


def _commit(
    batch: Sequence[_Write[object]],
    statements_by_name: dict[str, str],
    path: Path,
    connection: sqlite3.Connection,
) -> _CommitResult:
    """Run a batch as savepoints of one transaction and commit it; on the connection's thread."""
    deliveries: list[Callable[[], None]] = []
    published: list[object] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for write in batch:
            tx = SqliteTransaction(connection, statements_by_name)
            deliveries.append(_perform_alone(write, tx, connection, path))
            published.extend(tx.published)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise translate(error, path) from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return deliveries, published


def _perform_alone(
    write: _Write[object], tx: SqliteTransaction, connection: sqlite3.Connection, path: Path
) -> Callable[[], None]:
    connection.execute("SAVEPOINT member")
    try:
        deliver = write.perform(tx)
    except Exception as error:
        if not connection.in_transaction:
            # SQLite rolled the whole transaction back (disk full, I/O error): nobody's is kept.
            raise
        connection.execute("ROLLBACK TO member")
        connection.execute("RELEASE member")
        tx.published.clear()
        told = translate(error, path) if isinstance(error, sqlite3.Error) else error
        return functools.partial(write.fail, told)
    connection.execute("RELEASE member")
    return deliver


def _snapshot(
    function: Callable[[Transaction], T],
    statements_by_name: dict[str, str],
    path: Path,
    connection: sqlite3.Connection,
) -> T:
    try:
        connection.execute("BEGIN")
        try:
            return function(SqliteTransaction(connection, statements_by_name))
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _data_version(connection: sqlite3.Connection) -> int:
    # https://www.sqlite.org/pragma.html#pragma_data_version (read 2026-11-21): it changes when
    # another connection has committed, and never by this one's own commits.
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)
