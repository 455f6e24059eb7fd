"""Group commit: writes that wait while a commit runs share the next one."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeAlias

import msgspec

from supervisor.errors import StoreUnavailable
from supervisor.storage.database import P, RowT, T, Transaction, TransactionFunction, Value

BATCH_MAX = 256


class PublishingTransaction(Transaction, Protocol):
    """A driver's transaction, with what its function has published so far."""

    published: list[object]


class Write(Generic[T]):
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
        """Give the error to the caller, unless nobody waits any more."""
        if not self.future.done():
            self.future.set_exception(error)


class Committed(msgspec.Struct):
    """What a batch has done: what gives each caller its answer, and what was published.

    `refused` are those members that the store itself did not take.
    """

    deliveries: list[Callable[[], None]]
    published: list[object]
    refused: int = 0


Batch: TypeAlias = Sequence[Write[object]]


class GroupCommit:
    """The queue of writes, in the order of calls, and whom to tell of what was committed.

    `commit` begins the commit of a batch on the driver's thread; one runs at a time. There is no
    delay to gather a batch. Used only in the event loop.
    """

    def __init__(self, commit: Callable[[Batch], asyncio.Future[Committed]]) -> None:
        self._commit = commit
        self._pending: list[Write[object]] = []
        self._is_committing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._listeners: list[Callable[[Sequence[object]], None]] = []
        self.failures = 0

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Queue the function; the future has its result once it is durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        bound = bind(function, args, kwargs)
        self._pending.append(Write(bound, future))  # type: ignore[arg-type] # one list, many T
        if not self._is_committing:
            # Not at once but in the loop's next turn: what is written in this turn shares it.
            self._is_committing = True
            self._idle.clear()
            loop.call_soon(self._commit_next)
        return future

    def _commit_next(self) -> None:
        batch, self._pending = self._pending[:BATCH_MAX], self._pending[BATCH_MAX:]
        if not batch:
            self._is_committing = False
            self._idle.set()
            return
        self._commit(batch).add_done_callback(functools.partial(self._answer, batch))

    def _answer(self, batch: Batch, committed: asyncio.Future[Committed]) -> None:
        error = committed.exception()
        if error is not None:
            self.failures += 1
            for write in batch:
                write.fail(error)
        else:
            done = committed.result()
            self.failures += done.refused
            if done.published:
                self._tell(done.published)
            for deliver in done.deliveries:
                deliver()
        self._commit_next()

    def _tell(self, published: Sequence[object]) -> None:
        for listener in self._listeners:
            try:
                listener(published)
            except Exception as error:  # noqa: BLE001 - a listener's border: the commit stands
                told = {"message": "a listener of the store failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(told)

    def listen(self, listener: Callable[[Sequence[object]], None]) -> None:
        """Call `listener` with what each commit has published, before its callers are answered."""
        self._listeners.append(listener)

    async def finish(self) -> None:
        """Wait until nothing is queued any more."""
        await self._idle.wait()


class MemberFailed(Exception):
    """A member of a batch raised, so that the batch can't be committed as one."""


def perform_together(batch: Batch, begin: Callable[[], PublishingTransaction]) -> Committed:
    """Run every function of the batch in one open transaction.

    Raises:
        MemberFailed: one of them raised; `__cause__` is what. The transaction must be rolled back,
            and every function may be run again: it has no effect but through its transaction.
    """
    done = Committed([], [])
    for write in batch:
        tx = begin()
        try:
            done.deliveries.append(write.perform(tx))
        except Exception as error:
            raise MemberFailed from error
        done.published.extend(tx.published)
    return done


def perform_apart(
    batch: Batch,
    begin: Callable[[], PublishingTransaction],
    execute: Callable[[str], object],
    translate: Callable[[Exception], Exception | None],
) -> Committed:
    """Run every function of the batch under a savepoint of its own: one that fails, fails alone.

    `translate` gives what a failed member's caller is told, or None where the error has ended the
    whole transaction: it is raised then.
    """
    done = Committed([], [])
    for write in batch:
        tx = begin()
        execute("SAVEPOINT member")
        try:
            deliver = write.perform(tx)
        except Exception as error:
            told = translate(error)
            if told is None:
                raise
            execute("ROLLBACK TO SAVEPOINT member")
            deliver = functools.partial(write.fail, told)
            done.refused += isinstance(told, StoreUnavailable)
            tx.published.clear()
        execute("RELEASE SAVEPOINT member")
        done.deliveries.append(deliver)
        done.published.extend(tx.published)
    return done


def bind(
    function: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]
) -> Callable[[Transaction], T]:
    """Return the function of a transaction alone that passes these arguments on."""

    def bound(tx: Transaction) -> T:
        return function(tx, *args, **kwargs)

    return bound


def parse(columns: Sequence[str], found: Sequence[Value], into: type[RowT]) -> RowT:
    """Return a row as the value that the domain asked for, by the names of its columns."""
    return msgspec.convert(dict(zip(columns, found, strict=True)), into, strict=False)
