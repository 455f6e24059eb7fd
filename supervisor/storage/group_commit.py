"""Group commit: writes that wait while a commit runs share the next one."""

from __future__ import annotations

import asyncio
import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeAlias

import msgspec

from supervisor.errors import StoreUnavailable
from supervisor.storage.answers import fail, succeed
from supervisor.storage.database import (
    Joined,
    P,
    RowT,
    T,
    Transaction,
    TransactionFunction,
    Value,
    closed,
)

BATCH_MAX = 256
#: Below so many writes there is nothing to be won by two batches.
_HALVED_FROM = 8
#: What an answered member takes in the event loop, about, until it writes again.
_MEMBER_S = 60e-6
_FUNCTION = operator.attrgetter("function")


class MemberTransaction(Transaction, Protocol):
    """A driver's transaction: with what its functions have published, and what they left to write.

    See storage/memory.py.
    """

    published: list[object]

    def flush(self) -> None:
        """Write what waits to be written."""
        ...


class Write(Generic[T]):
    """A function that waits for its commit, and the future of whoever asked for it."""

    __slots__ = ("arguments", "function", "future", "named")

    def __init__(
        self,
        function: Callable[..., T],
        arguments: tuple[object, ...],
        named: dict[str, object],
        future: asyncio.Future[T],
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.named = named
        self.future = future

    def perform(self, tx: Transaction) -> T:
        """Run the function."""
        return self.function(tx, *self.arguments, **self.named)

    def answer(self, result: T | Failed) -> None:
        """Give the result to the caller, unless nobody waits any more."""
        if isinstance(result, Failed):
            fail(self.future, result.error)
        else:
            succeed(self.future, result)


class Failed:
    """What a member of a batch raised, in the place of its result."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Committed(msgspec.Struct):
    """What a batch has done: each member's result in their order, and what was published.

    `refused` is how many members the store itself did not take, `waited_s` how long its COMMIT
    took.
    """

    results: list[object]
    published: list[object]
    refused: int = 0
    waited_s: float = 0.0


Batch: TypeAlias = Sequence[Write[object]]


class GroupCommit:
    """The queue of writes, in the order of calls, and whom to tell of what was committed.

    `commit` begins the commit of a batch on the driver's thread, behind those that it began
    before. There is no delay to gather a batch. Used only in the event loop. `subject` is the
    store's name in its errors.

    Where many write at once, they do so in two batches that take turns: while one waits for the
    disk, those of the other have their answers and go on. That costs a sync more, so it is done
    only where a sync takes less than they do.
    """

    def __init__(
        self,
        commit: Callable[[Batch], asyncio.Future[Committed]],
        *,
        subject: str,
        in_flight_max: int = 2,
    ) -> None:
        self._commit = commit
        self._subject = subject
        self._in_flight_max = in_flight_max
        self._pending: list[Write[object]] = []
        #: How large the batches are that are being committed, the oldest first.
        self._in_flight: list[int] = []
        self._waited_s = 0.0
        self._is_about_to = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._listeners: list[Callable[[Sequence[object]], None]] = []
        self.failures = 0
        #: Whether nothing is taken any more.
        self.is_closed = False

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Queue the function; the future has its result once it is durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self.is_closed:
            future.set_exception(closed(self._subject))
            return future
        # type: one list, many T
        self._pending.append(Write(function, args, kwargs, future))  # type: ignore[arg-type] # so
        if not self._is_about_to and len(self._in_flight) < self._in_flight_max:
            # Not at once but in the loop's next turn: what is written in this turn shares it.
            self._is_about_to = True
            self._idle.clear()
            loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        self._is_about_to = False
        while size := self._next_size():
            batch, self._pending = self._pending[:size], self._pending[size:]
            self._in_flight.append(size)
            self._commit(batch).add_done_callback(functools.partial(self._answer, batch))
        if not self._in_flight:
            self._idle.set()

    def _next_size(self) -> int:
        """Return how many writes make the next batch, 0 where it is not time for one."""
        waiting = min(len(self._pending), BATCH_MAX)
        takes_turns = self._in_flight_max > 1 and self._waited_s < waiting * _MEMBER_S
        if not self._in_flight:
            return waiting // 2 if takes_turns and waiting >= _HALVED_FROM else waiting
        # A smaller one would only take the others' place.
        is_worth_it = takes_turns and waiting >= self._in_flight[-1]
        return waiting if is_worth_it and len(self._in_flight) < self._in_flight_max else 0

    def _answer(self, batch: Batch, committed: asyncio.Future[Committed]) -> None:
        del self._in_flight[0]
        error = committed.exception()
        if error is not None:
            self.failures += 1
            for write in batch:
                write.answer(Failed(error))
        else:
            done = committed.result()
            self._waited_s = done.waited_s
            self.failures += done.refused
            if done.published:
                self._tell(done.published)
            for write, result in zip(batch, done.results, strict=True):
                write.answer(result)
        self._hand_over()

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
        """Take nothing any more, and wait until all that was queued is answered."""
        self.is_closed = True
        await self._idle.wait()


class MemberFailed(Exception):
    """A member of a batch raised, so that the batch can't be committed as one."""


def perform_together(batch: Batch, tx: MemberTransaction) -> Committed:
    """Run every function of the batch in one open transaction.

    Raises:
        MemberFailed: one of them raised, or what they left to write was refused; `__cause__` is
            what. The transaction must be rolled back and its memory forgotten, and every function
            may be run again: it has no effect but through its transaction.
    """
    try:
        results = _perform_all(batch, tx)
        tx.flush()
    except Exception as error:
        raise MemberFailed from error
    return Committed(results, tx.published)


def _perform_all(batch: Batch, tx: Transaction) -> list[object]:
    """Run the functions in their order; calls of a joined one that stand together are one."""
    results: list[object] = []
    for function, writes in itertools.groupby(batch, _FUNCTION):
        if isinstance(function, Joined):
            calls = [write.arguments[0] for write in writes]
            answers = function.every(tx, calls)
            assert len(answers) == len(calls), f"{len(answers)} answers to {len(calls)} calls"
            results += answers
        else:
            results += [write.perform(tx) for write in writes]
    return results


def perform_apart(
    batch: Batch,
    begin: Callable[[], MemberTransaction],
    execute: Callable[[str], object],
    translate: Callable[[Exception], Exception | None],
) -> Committed:
    """Run every function of the batch under a savepoint of its own: one that fails, fails alone.

    `begin` gives each a transaction that remembers nothing of what was before. `translate` gives
    what a failed member's caller is told, or None where the error has ended the whole
    transaction: it is raised then.
    """
    done = Committed([], [])
    for write in batch:
        tx = begin()
        execute("SAVEPOINT member")
        try:
            result = write.perform(tx)
            tx.flush()
        except Exception as error:
            told = translate(error)
            if told is None:
                raise
            execute("ROLLBACK TO SAVEPOINT member")
            result = Failed(told)
            done.refused += isinstance(told, StoreUnavailable)
        else:
            done.published.extend(tx.published)
        execute("RELEASE SAVEPOINT member")
        done.results.append(result)
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
