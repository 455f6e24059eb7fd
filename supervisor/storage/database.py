"""What the domain asks of a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import (
    TYPE_CHECKING,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
)

import msgspec

from supervisor.errors import StoreUnavailable

if TYPE_CHECKING:
    from supervisor.storage.memory import K, Keep, Later, V

P = ParamSpec("P")
C = TypeVar("C")
T = TypeVar("T")
RowT = TypeVar("RowT", bound=msgspec.Struct)

#: What a statement's parameter may be. Moments go in as microseconds, money as micro-USD.
Value: TypeAlias = int | float | str | bytes | None


class Transaction(Protocol):
    """One open transaction, valid only inside the function that was given it.

    Statements are named `file.statement`, as in `storage/sql/FILE.sql`.
    """

    def run(self, statement: str, /, **values: Value) -> int:
        """Run a statement and return how many rows it changed."""
        ...

    def rows(self, statement: str, into: type[RowT], /, **values: Value) -> list[RowT]:
        """Return every row, parsed by column name into `into`."""
        ...

    def row(self, statement: str, into: type[RowT], /, **values: Value) -> RowT | None:
        """Return the first row or None."""
        ...

    def each(self, statement: str, into: type[RowT], /, **values: Value) -> Iterator[RowT]:
        """Yield rows one by one, for results that must not be held in memory."""
        ...

    def copies(self, statement: str, /, **values: Value) -> list[dict[str, Value]]:
        """Return every row as it is stored, by column name: to be kept elsewhere."""
        ...

    def recall(self, statement: str, into: type[RowT], /, **values: Value) -> RowT | None:
        """Return what `row` returned before, if no table that the statement reads has changed.

        Only for what no row that is kept changes: see `kept`.
        """
        ...

    def kept(self, keep: Keep[K, V]) -> dict[K, V]:
        """Return those rows that are remembered. It may be empty at any time, and a statement that
        changes their table empties it.
        """
        ...

    def touch(self, keep: Keep[K, V], key: K) -> None:
        """Say that a row of `kept` was changed in place, so that it is written."""
        ...

    def later(self, later: Later, *values: Value) -> None:
        """Run a statement for these values before anything else is run, together with its like."""
        ...

    def publish(self, fact: object) -> None:
        """Hand `fact` to the database's listeners once this transaction has committed."""
        ...


#: A transaction is a plain function: it can't await, so it never spans a model call. It has no
#: effect but through its transaction, as it is run again where its batch could not be committed.
TransactionFunction: TypeAlias = Callable[Concatenate[Transaction, P], T]


class Joined(Generic[C, T]):
    """A transaction function of one call that does many at once with less than one by one.

    `every` is given calls in their order and gives each its result; what it raises is nobody's
    alone, so that all of them are done one by one then.
    """

    def __init__(self, every: Callable[[Transaction, Sequence[C]], Sequence[T]]) -> None:
        self.every = every

    def __call__(self, tx: Transaction, call: C, /) -> T:
        """Do one call."""
        (result,) = self.every(tx, [call])
        return result


class Database(Protocol):
    """A store that runs whole functions as transactions.

    Cancelling a caller does not tear its function: it still commits or rolls back whole, and
    the caller does not learn which. That is why every command has an id.
    """

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run `function` in a durable transaction.

        The function is queued at once, also when nobody awaits the result: the order of calls
        is the order of execution. The answer comes only after the commit.

        Raises:
            StoreUnavailable: the store could not take the write; nothing of it is kept.
            Exception: whatever `function` raised; nothing of it is kept.
        """
        ...

    def read(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run `function` on one consistent snapshot; readers never wait for writers.

        Raises:
            StoreUnavailable: the store could not be read.
        """
        ...

    def listen(self, listener: Callable[[Sequence[object]], None]) -> None:
        """Call `listener` in the event loop with what each commit published, in its order."""
        ...

    def heed(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop as soon as it is heard that another has committed.

        Only a hint: a store that hears nothing (SQLite) never calls it, and one that was not
        heard for a while does not call it for what it has missed.
        """
        ...

    def has_foreign_commits(self) -> Awaitable[bool]:
        """Return whether anybody else has committed since this was last asked."""
        ...

    def write_failures(self) -> int:
        """Return how many commits have failed since the store was opened."""
        ...

    def size_bytes(self) -> int:
        """Return the bytes that wait in the write-ahead log, 0 where there is none."""
        ...

    async def close(self) -> None:
        """Finish what was queued, then close; who asks later is refused by `closed`."""
        ...


def closed(subject: str) -> StoreUnavailable:
    """Return the error for a store that this process has closed already."""
    return StoreUnavailable(
        subject=subject,
        what="is closed; nothing was written",
        fix="open it again, or ask earlier",
    )
