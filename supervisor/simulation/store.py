"""The simulated store: the product's SQL on SQLite, a commit that takes virtual time."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from supervisor.errors import Refusal, StoreUnavailable
from supervisor.events.log import Origin
from supervisor.ledger.accounts import AccountKey, Amounts, Budgets
from supervisor.ledger.holds import HoldRequest
from supervisor.ledger.limits import ledger_now
from supervisor.storage import migrate, statements
from supervisor.storage.database import P, T, Transaction, TransactionFunction
from supervisor.storage.group_commit import (
    Batch,
    Committed,
    GroupCommit,
    MemberFailed,
    perform_apart,
    perform_together,
)
from supervisor.storage.memory import Memory
from supervisor.storage.sqlite import DIALECT, SqliteTransaction
from supervisor.storage.sqlite_connection import translate
from supervisor.worker.placing import Bid
from supervisor.worker.records import Skipped

R = TypeVar("R")

_PATH = Path("simulated.db")
_SUBJECT = f"store {_PATH}"
_CACHE_KIB = 65_536
#: A commit takes up to a little more than the fdatasync of a slow disk.
_COMMIT_S = (0.0002, 0.006)
_READ_S = (0.00005, 0.0005)


class Refused(msgspec.Struct, frozen=True):
    """A refusal that a transaction returned, published in its place among the events.

    `least` is the smallest hold that a model call would have taken, on these accounts; None where
    it was no model call.
    """

    refusal: Refusal
    least: Amounts | None = None
    accounts: Sequence[AccountKey] = ()


class LifeOver(BaseException):
    """Raised into what still runs of a life that was cut off: there is no store any more."""


class StoreFate(Protocol):
    """What befalls a store, decided by the simulation."""

    def locked_for(self) -> str:
        """Return why the store takes nothing now, empty where it does."""
        ...

    def dies_before_commit(self) -> bool:
        """Return whether the process is killed before this commit: nothing of it is kept."""
        ...

    def dies_after_commit(self) -> bool:
        """Return whether the process is killed after it: all is kept, nobody hears of it."""
        ...


class Disk:
    """The database file, which outlives every daemon.

    `observe` is told what each commit published, whoever made it; `distrust` of every error that
    a transaction of the daemon has raised, as none has a reason to. With a `path` it is a store
    that the product has made there, which is kept.
    """

    def __init__(
        self,
        observe: Callable[[Sequence[object]], None],
        distrust: Callable[[BaseException], None],
        path: Path | None = None,
    ) -> None:
        # A database without a name: private, in memory, and on disk where it grows large.
        self._connection = sqlite3.connect(path or "", isolation_level=None, cached_statements=256)
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if path is None:
            self._connection.execute("PRAGMA journal_mode = MEMORY")
            for migration in migrate.available(DIALECT):
                self._connection.executescript(migration.sql)
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._statements = statements.load(DIALECT)
        self._memory = Memory()
        self._observe = observe
        self._distrust = distrust

    def transaction(self) -> SqliteTransaction:
        """Return a transaction for one function."""
        return SqliteTransaction(self._connection, self._statements)

    def commit(self, batch: Batch, fate: StoreFate) -> Committed | None:
        """Commit a batch as the driver does, or return None where the process dies of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            done = self._perform(batch)
            if fate.dies_before_commit():
                return None
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
                self._memory.forget()
        self._observe(done.published)
        return None if fate.dies_after_commit() else done

    def _perform(self, batch: Batch) -> Committed:
        try:
            tx = SqliteTransaction(self._connection, self._statements, self._memory)
            return perform_together(batch, tx)
        except MemberFailed:
            self._connection.execute("ROLLBACK")
            self._memory.forget()
            self._connection.execute("BEGIN IMMEDIATE")
            execute = self._connection.execute
            return perform_apart(batch, self.transaction, execute, self._told)

    def _told(self, error: Exception) -> Exception | None:
        self._distrust(error)
        return translate(error, _PATH) if isinstance(error, sqlite3.Error) else error

    def run(self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Commit one function for another process, such as the command line."""
        tx = self.transaction()
        # As the driver does where another connection has committed.
        self._memory.forget()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = function(tx, *args, **kwargs)
            tx.flush()
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        self._observe(tx.published)
        return result

    def read(self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that changes nothing."""
        return function(self.transaction(), *args, **kwargs)

    def query(self, sql: str, values: Sequence[str | int] = ()) -> list[tuple[object, ...]]:
        """Return the rows of a question that no statement of the product asks."""
        return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        self._connection.close()


class LifeStore:
    """One life's way to the disk: the driver's queue and group commit, in virtual time."""

    def __init__(self, disk: Disk, fate: StoreFate, chance: random.Random) -> None:
        self._disk = disk
        self._fate = fate
        self._chance = chance
        self._group = GroupCommit(self._commit, subject=_SUBJECT, in_flight_max=1)
        self._is_over = False

    def cut_off(self) -> None:
        """Take nothing from this life any more."""
        self._is_over = True

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        if self._is_over:
            raise LifeOver
        return self._group.write(_observed(function), *args, **kwargs)

    def _commit(self, batch: Batch) -> asyncio.Future[Committed]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Committed] = loop.create_future()
        loop.call_later(self._chance.uniform(*_COMMIT_S), self._commit_now, batch, answer)
        return answer

    def _commit_now(self, batch: Batch, answer: asyncio.Future[Committed]) -> None:
        if self._is_over:
            return
        why = self._fate.locked_for()
        if why:
            answer.set_exception(_unavailable(why))
            return
        done = self._disk.commit(batch, self._fate)
        if done is not None:
            answer.set_result(done)

    async def read(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._is_over:
            raise LifeOver
        loop = asyncio.get_running_loop()
        waited: asyncio.Future[None] = loop.create_future()
        loop.call_later(self._chance.uniform(*_READ_S), _wake, waited)
        await waited
        why = self._fate.locked_for()
        if why:
            raise _unavailable(why)
        return self._disk.read(function, *args, **kwargs)

    def listen(self, listener: Callable[[Sequence[object]], None]) -> None:
        self._group.listen(listener)

    def heed(self, listener: Callable[[], None]) -> None:
        """Hear nothing: there is nobody else."""

    async def has_foreign_commits(self) -> bool:
        """The simulation tells the kill watch itself: it would look 60 million times a month."""
        return False

    def write_failures(self) -> int:
        return self._group.failures

    def size_bytes(self) -> int:
        return 0

    async def close(self) -> None:
        await self._group.finish()


def _wake(waited: asyncio.Future[None]) -> None:
    if not waited.done():
        waited.set_result(None)


def _unavailable(why: str) -> StoreUnavailable:
    return StoreUnavailable(subject=_SUBJECT, what=why, fix="wait")


def _observed(function: TransactionFunction[P, T]) -> TransactionFunction[P, T]:
    """Return the function as it is, that also publishes what it refused."""

    def observed(tx: Transaction, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result = function(tx, *args, **kwargs)
        refusal = result.refusal if isinstance(result, Skipped) else result
        if isinstance(refusal, Refusal):
            tx.publish(_refused(tx, refusal, args))
        return result

    return observed


def _refused(tx: Transaction, refusal: Refusal, args: Sequence[object]) -> Refused:
    bid, request = _found(args, Bid), _found(args, HoldRequest)
    budgets, origin = _found(args, Budgets), _found(args, Origin)
    if bid is None or request is None or budgets is None or origin is None:
        return Refused(refusal)
    accounts = budgets.accounts(request.call, ledger_now(tx, origin.at))
    return Refused(refusal, bid.amounts(bid.output_tokens_min), accounts)


def _found(args: Sequence[object], kind: type[R]) -> R | None:
    return next((arg for arg in args if isinstance(arg, kind)), None)
