"""A store for a while, filled with copies of rows, to audit them away from where they came from."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from supervisor.storage import statements
from supervisor.storage.database import Transaction, Value
from supervisor.storage.sqlite import DIALECT, SqliteTransaction
from supervisor.storage.sqlite_file import prepare_fresh

P = ParamSpec("P")
T = TypeVar("T")


class UnknownColumn(Exception):
    """A row has a table or a column that this version's schema has not."""


class ScratchStore:
    """A SQLite file with this version's tables and none of their rules; gone when it is closed.

    Nothing in it is durable, and nobody else has it: it is used on one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        prepare_fresh(self._connection, path)
        self._drop_rules()
        self._columns = {
            table: dict(self._kinds(table)) for (table,) in self._all(_TABLES) if table != _OWN
        }
        self._statements = statements.load(DIALECT)

    def _drop_rules(self) -> None:
        """Take what is damaged too: the audit is to say so."""
        for pragma in ("foreign_keys = OFF", "ignore_check_constraints = ON", "synchronous = OFF"):
            self._connection.execute(f"PRAGMA {pragma}")
        for (name,) in self._all("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            self._connection.execute(f'DROP TRIGGER "{name}"')

    def _all(self, sql: str) -> list[tuple[str, ...]]:
        return self._connection.execute(sql).fetchall()

    def _kinds(self, table: str) -> Iterator[tuple[str, str]]:
        for _, name, kind, *_ in self._connection.execute(f'PRAGMA table_info("{table}")'):
            yield name, kind

    def columns(self, table: str) -> Mapping[str, str]:
        """Return a table's columns with their SQL types.

        Raises:
            UnknownColumn: there is no such table.
        """
        found = self._columns.get(table)
        if found is None:
            raise UnknownColumn(f"table {table} is not known to this version")
        return found

    def put(self, table: str, rows: Iterable[Mapping[str, Value]]) -> None:
        """Add rows in one transaction; one with a key that is there replaces that one.

        Raises:
            UnknownColumn: a column is not known.
        """
        known = self.columns(table)
        self._connection.execute("BEGIN")
        try:
            for row in rows:
                unknown = row.keys() - known.keys()
                if unknown:
                    raise UnknownColumn(f"column {table}.{min(unknown)} is not known")
                names = ", ".join(f'"{name}"' for name in row)
                values = ", ".join(f":{name}" for name in row)
                sql = f'INSERT OR REPLACE INTO "{table}" ({names}) VALUES ({values})'  # noqa: S608 - the schema's own names
                self._connection.execute(sql, row)
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def tables(self) -> list[str]:
        """Return the names of all tables that rows can be in."""
        return sorted(self._columns)

    def rows(self, table: str) -> Iterator[dict[str, Value]]:
        """Yield a table's rows, in the order of its first columns."""
        names = list(self.columns(table))
        listed = ", ".join(f'"{name}"' for name in names)
        sql = f'SELECT {listed} FROM "{table}" ORDER BY 1, 2'  # noqa: S608 - the schema's names
        for found in self._connection.execute(sql):
            yield dict(zip(names, found, strict=True))

    def read(
        self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function of the domain on what is there."""
        return function(SqliteTransaction(self._connection, self._statements), *args, **kwargs)

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


_OWN = "schema_migrations"
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
