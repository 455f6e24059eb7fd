"""What transactions remember of rows, and what they have yet to write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from supervisor.redaction import REDACTION
from supervisor.storage import statements
from supervisor.storage.database import RowT, Value

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: What is recalled where nothing is.
UNKNOWN = object()
#: Above as many rows a connection starts anew: a bound on memory, far above what is in use.
ROWS_MAX = 20_000
#: Tables whose statements need not come after what waits for others: they refer to no other table,
#: none refers to them, and no trigger of theirs reads one.
APART = frozenset({"jobs", "job_claims"})


class Later:
    """A statement whose rows are written together, before anything is read and at the latest when
    the batch ends. One row of values changes exactly one row of the table.
    """

    __slots__ = ("columns", "is_new", "statement")

    def __init__(self, statement: str, *columns: str, is_new: bool = False) -> None:
        """`columns` are the statement's parameters, in the order in which values are given.

        `is_new` says that it inserts: what is new is written before what is changed.
        """
        self.statement = statement
        self.columns = columns
        self.is_new = is_new


class Keep(Generic[K, V]):
    """Rows of one table that are remembered, by a key.

    `save` writes one that was changed in memory, with the values that `values_of` takes from it.
    """

    __slots__ = ("save", "table", "values_of")

    def __init__(
        self,
        table: str,
        save: Later | None = None,
        values_of: Callable[[V], tuple[Value, ...]] | None = None,
    ) -> None:
        self.table = table
        self.save = save
        self.values_of = values_of


class Memory:
    """What one connection knows of the store for as long as nobody else has changed it.

    Whoever lets it live longer than one transaction must know that nobody else has committed
    since, and `forget` whenever a transaction was not committed.
    """

    def __init__(self) -> None:
        self.rows: dict[Keep[Any, Any], dict[Any, Any]] = {}
        self._recalled: dict[Hashable, Any] = {}
        self._recalled_from: set[str] = set()

    def kept(self, keep: Keep[K, V]) -> dict[K, V]:
        """Return the rows that are remembered, to be read and changed in place."""
        rows = self.rows.get(keep)
        if rows is None:
            rows = self.rows[keep] = {}
        return rows

    def recall(self, question: Hashable) -> Any:
        """Return the last answer to the question, `UNKNOWN` where a table of it has changed."""
        return self._recalled.get(question, UNKNOWN)

    def learn(self, question: Hashable, text: str, answer: object) -> None:
        """Remember the answer that the statement has given."""
        self._recalled_from |= statements.tables_read(text)
        self._recalled[question] = answer

    def forget(self) -> None:
        """Forget everything."""
        for rows in self.rows.values():
            rows.clear()
        self._recalled.clear()

    def forget_table(self, table: str) -> None:
        """Forget what is known of one table, or of every one where it has no name."""
        if not table:
            self.forget()
        for keep, rows in self.rows.items():
            if keep.table == table:
                rows.clear()
        if table in self._recalled_from:
            self._recalled.clear()

    def stay_small(self) -> None:
        """Forget everything where it has become too much."""
        if len(self._recalled) + sum(map(len, self.rows.values())) > ROWS_MAX:
            self.forget()


#: Statements in the order in which they are run, each with the values of its rows.
Waiting: TypeAlias = Sequence[tuple[Later, list[tuple[Value, ...]]]]


class RememberingTransaction(ABC):
    """The part of a transaction that all drivers share: what is remembered, what is written later.

    A statement that is run now comes after everything that waits to be written and that it could
    see or need, and what changes a table makes it forget that table. So a function that knows
    nothing of this sees what every function before it has done, and is seen by those after it.
    """

    def __init__(self, named: dict[str, str], memory: Memory | None) -> None:
        """Without a `memory`, it remembers for itself alone."""
        self.published: list[object] = []
        self._named = named
        self._memory = memory or Memory()
        self._rows = self._memory.rows
        self._new: dict[Later, list[tuple[Value, ...]]] = {}
        self._changed: dict[Later, list[tuple[Value, ...]]] = {}
        self._touched: dict[Keep[Any, Any], dict[Any, None]] = {}
        self._waiting_for: set[str] = set()
        self._is_waiting = False
        self._is_broken = False

    def publish(self, fact: object) -> None:
        self.published.append(fact)

    def kept(self, keep: Keep[K, V]) -> dict[K, V]:
        return self._rows.get(keep) or self._memory.kept(keep)

    def touch(self, keep: Keep[K, V], key: K) -> None:
        self._is_waiting = True
        keys = self._touched.get(keep)
        if keys is None:
            keys = self._touched[keep] = {}
            self._waiting_for.add(keep.table)
        # In the order in which they were touched: a simulation is the same with the same seed.
        keys[key] = None

    def later(self, later: Later, *values: Value) -> None:
        self._is_waiting = True
        waiting = self._new if later.is_new else self._changed
        rows = waiting.get(later)
        if rows is None:
            rows = waiting[later] = []
            self._waiting_for.add(statements.table_written(self._named[later.statement]) or "")
        rows.append(values)

    def recall(self, statement: str, into: type[RowT], /, **values: Value) -> RowT | None:
        question = (statement, into, *values.items())
        answer: RowT | None = self._memory.recall(question)
        if answer is UNKNOWN:
            answer = self.row(statement, into, **values)
            self._memory.learn(question, self._named[statement], answer)
        return answer

    def flush(self) -> None:
        """Write everything that waits; what comes of it is that of the transaction.

        Raises:
            RuntimeError: a statement did not change one row for each of its own, so that something
                was not as it was remembered; or this has failed before.
        """
        if self._is_broken:
            raise RuntimeError("what this transaction had to write was refused before")
        if not self._is_waiting:
            return
        self._is_broken = True
        for keep, keys in self._touched.items():
            kept = self._memory.kept(keep)
            assert keep.save is not None, keep.table
            assert keep.values_of is not None, keep.table
            waiting = self._changed.setdefault(keep.save, [])
            waiting.extend(keep.values_of(kept[key]) for key in keys)
        waiting_now = [
            (later, [REDACTION.row(later.columns, row) for row in rows])
            for later, rows in (*self._new.items(), *self._changed.items())
        ]
        for (later, rows), changed in zip(waiting_now, self._run_all(waiting_now), strict=True):
            if changed != len(rows):
                raise RuntimeError(f"{later.statement} changed {changed} of {len(rows)} rows")
        for waiting_rows in (self._new, self._changed, self._touched, self._waiting_for):
            waiting_rows.clear()
        self._is_waiting = self._is_broken = False

    def _before(self, text: str) -> None:
        """Prepare for a statement that is run now."""
        table = statements.table_written(text)
        if self._is_waiting and self._comes_after_it(text, table):
            self.flush()
        if table is not None:
            self._memory.forget_table(table)

    def _comes_after_it(self, text: str, table: str | None) -> bool:
        """Return whether what waits must be written before the statement, which changes `table`."""
        if self._is_broken or (table is not None and table not in APART):
            return True
        # Empty where the words of what waits don't say what it changes.
        return "" in self._waiting_for or not self._waiting_for.isdisjoint(statements.words(text))

    @abstractmethod
    def row(self, statement: str, into: type[RowT], /, **values: Value) -> RowT | None:
        """Return the first row or None."""

    @abstractmethod
    def _run_all(self, waiting: Waiting) -> list[int]:
        """Run each statement for each of its rows, and return how many rows each has changed."""
