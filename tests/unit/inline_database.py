"""A store in memory that answers at once, in the caller's thread, and fails when told to."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence

from supervisor.errors import StoreUnavailable
from supervisor.storage import migrate, statements
from supervisor.storage.database import P, T, TransactionFunction
from supervisor.storage.sqlite import SqliteTransaction


class InlineDatabase:
    """The whole protocol, with no thread: for tests whose time is virtual.

    `writes` counts the calls; `failures` is how many of the next calls the store does not answer,
    `fail_reads` how many of the next reads; `foreign_commits` says of each look whether somebody
    else has committed.
    """

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._statements = statements.load("sqlite")
        for migration in migrate.available("sqlite"):
            self._connection.executescript(migration.sql)
        self._listeners: list[Callable[[Sequence[object]], None]] = []
        self._failed_writes = 0
        self.writes = 0
        self.failures = 0
        self.fail_reads = 0
        self.foreign_commits: list[bool] = []

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        tx = SqliteTransaction(self._connection, self._statements)
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.writes += 1
        try:
            self._fail_if_told()
            self._connection.execute("BEGIN")
            result = function(tx, *args, **kwargs)
            tx.flush()
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the caller gets it, as from the real one
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._failed_writes += isinstance(error, StoreUnavailable)
            answer.set_exception(error)
            return answer
        for listener in self._listeners:
            listener(tx.published)
        answer.set_result(result)
        return answer

    async def read(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._fail_if_told()
        if self.fail_reads:
            self.fail_reads -= 1
            raise _out_of_order()
        return function(SqliteTransaction(self._connection, self._statements), *args, **kwargs)

    def _fail_if_told(self) -> None:
        if self.failures:
            self.failures -= 1
            raise _out_of_order()

    def look(self, function: Callable[[SqliteTransaction], T]) -> T:
        """Read at once, for a test that has no loop."""
        return function(SqliteTransaction(self._connection, self._statements))

    def add_statement(self, name: str, sql: str) -> None:
        """Let a test look at what no statement of the product looks at."""
        self._statements[name] = sql

    def listen(self, listener: Callable[[Sequence[object]], None]) -> None:
        self._listeners.append(listener)

    def heed(self, listener: Callable[[], None]) -> None:
        """Hear nothing: there is nobody else."""

    async def has_foreign_commits(self) -> bool:
        return self.foreign_commits.pop(0) if self.foreign_commits else False

    def size_bytes(self) -> int:
        return 0

    def write_failures(self) -> int:
        return self._failed_writes

    async def close(self) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        self._connection.close()


def _out_of_order() -> StoreUnavailable:
    return StoreUnavailable(subject="store", what="is out of order", fix="wait")
