"""A connection to Postgres, and the one thread that uses it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import Buffer, Loader
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper

from supervisor.storage.answers import Answers
from supervisor.storage.database import Value, closed
from supervisor.storage.postgres_errors import is_fatal
from supervisor.storage.postgres_target import SessionKind, Target

R = TypeVar("R")
_Job = Callable[[], None]


class _WholeNumbers(Loader):
    """Sums of BIGINT are NUMERIC to Postgres; they are whole numbers."""

    def load(self, data: Buffer) -> int:
        return int(bytes(data))


class Connection(psycopg.Connection[tuple[Value, ...]]):
    """psycopg's connection that does not wait for an answer for ever."""

    answer_s: float | None = None

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for an answer of the server; one that takes too long has lost the connection."""
        try:
            return super().wait(gen, interval=interval, timeout=timeout or self.answer_s)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001 - psycopg has no other name
            self.pgconn.finish()
            what = f"the server has not answered for {self.answer_s:g} s"
            raise psycopg.OperationalError(what) from error


class Link:
    """One connection, made anew after it was lost, and the thread that alone uses it.

    `submit` and `close` are called in the event loop; everything else on the thread.
    """

    def __init__(self, target: Target, kind: SessionKind) -> None:
        self.target = target
        self._kind = kind
        self._connection: Connection | None = None
        self._is_closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.answers = Answers()
        # A daemon: a connection that nobody closed must not keep a process alive that wants to end.
        self._thread = threading.Thread(target=self._work, name="postgres", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[Link], R]) -> asyncio.Future[R]:
        """Queue `function`; it runs also when the future is cancelled."""
        if self._is_closed:
            refused: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            refused.set_exception(closed(self.target.subject))
            return refused
        future, run = self.answers.ask(lambda: function(self))
        self._jobs.put(run)
        return future

    async def close(self) -> None:
        """Finish what was queued, then end the thread and its connection."""
        dropped = self.submit(Link.drop)
        self._is_closed = True
        self._jobs.put(None)
        await dropped

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            if self._jobs.empty():
                self.answers.give()
        self.answers.give()
        self.answers.close()

    def connected(self) -> Connection:
        """Return the connection; made now where there is none that is alive."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.target, self._kind)
        return self._connection

    def rest(self) -> None:
        """Leave no transaction open; a connection that can't do that is dropped."""
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.pgconn.transaction_status != TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            self.drop()

    def recover(self, error: Exception) -> None:
        """Leave no transaction open after a failure, and no connection that is dead."""
        if is_fatal(error):
            self.drop()
        self.rest()

    def drop(self) -> None:
        """Close the connection; the next use makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def is_alive(self) -> bool:
        """Return whether there is a connection that is not known to be lost."""
        return self._connection is not None and not self._connection.closed


def connect(target: Target, kind: SessionKind) -> Connection:
    """Return a fresh connection that leaves transactions to its user.

    Raises:
        psycopg.OperationalError: the server could not be reached, or refused it.
    """
    connection = Connection.connect(target.conninfo, autocommit=True, prepare_threshold=0)
    connection.answer_s = kind.answer_s
    connection.prepared_max = None
    # One type for every number: a plan for each statement, and no sum that overflows a SMALLINT.
    connection.adapters.register_dumper(int, Int8Dumper)
    connection.adapters.register_dumper(bool, Int8Dumper)
    connection.adapters.register_loader("numeric", _WholeNumbers)
    try:
        connection.execute(kind.settings, prepare=False)
    except BaseException:
        connection.close()
        raise
    return connection
