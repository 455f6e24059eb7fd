"""A store without a thread, for property tests: the driver's transaction on one connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from supervisor.storage import statements
from supervisor.storage.memory import Memory
from supervisor.storage.sqlite import SqliteTransaction
from supervisor.storage.sqlite_file import _prepare

P = ParamSpec("P")
T = TypeVar("T")


class DirectStore:
    """Runs functions one after the other, each in a transaction of its own."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        _prepare(self.connection, path=Path(":memory:"), now_us=0, is_read_only=False)
        self._statements = statements.load("sqlite")
        self._memory = Memory()
        self._changes = self.connection.total_changes
        self.published: list[object] = []

    def write(
        self,
        function: Callable[Concatenate[SqliteTransaction, P], T],
        *args: P.args,
        **kw: P.kwargs,
    ) -> T:
        """Run `function` and commit, or roll back what it raised from."""
        if self.connection.total_changes != self._changes:
            # A test has written behind the store's back.
            self._memory.forget()
        tx = SqliteTransaction(self.connection, self._statements, self._memory)
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            result = function(tx, *args, **kw)
            tx.flush()
        except BaseException:
            self.connection.execute("ROLLBACK")
            self._memory.forget()
            raise
        self.connection.execute("COMMIT")
        self._changes = self.connection.total_changes
        self.published.extend(tx.published)
        return result

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
