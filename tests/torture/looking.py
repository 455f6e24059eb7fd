"""Asking a store what it holds, beside the product's own code, on either database."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.daemon_process import PATIENCE_S, Row

if TYPE_CHECKING:
    import psycopg

_PLACEHOLDER = re.compile(r"(?<!:):(\w+)")


class Look:
    """One moment of a store; values go in by name, as `:name`."""

    def rows(self, sql: str, **values: object) -> Sequence[Row]:
        """Return every row."""
        raise NotImplementedError

    def numbers(self, sql: str, **values: object) -> tuple[int, ...]:
        """Return the one row that a query answers, of numbers only."""
        (row,) = self.rows(sql, **values)
        return tuple(int(str(column)) for column in row)

    def number(self, sql: str, **values: object) -> int:
        """Return the one number that a query answers."""
        (number,) = self.numbers(sql, **values)
        return number

    def names(self, sql: str, **values: object) -> list[str]:
        """Return the first column."""
        return [str(row[0]) for row in self.rows(sql, **values)]


class _Nothing(Look):
    """A store that is not there yet."""

    def rows(self, sql: str, **values: object) -> Sequence[Row]:
        return []


class _SqliteLook(Look):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, **values: object) -> Sequence[Row]:
        return self._connection.execute(sql, values).fetchall()


@contextmanager
def looking_at(store: str | Path) -> Iterator[Look]:
    """Give a look at a SQLite file or at the Postgres database of a URL."""
    if isinstance(store, str):
        with _looking_at_postgres(store) as look:
            yield look
    elif not store.exists():
        yield _Nothing()
    else:
        with _looking_at_sqlite(store) as look:
            yield look


@contextmanager
def _looking_at_sqlite(store: Path) -> Iterator[Look]:
    connection = sqlite3.connect(
        f"{store.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE_S, isolation_level=None
    )
    try:
        connection.execute("BEGIN")
        yield _SqliteLook(connection)
    finally:
        connection.close()


class _PostgresLook(Look):
    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def rows(self, sql: str, **values: object) -> Sequence[Row]:
        named = _PLACEHOLDER.sub(r"%(\1)s", sql.replace("%", "%%"))
        return self._connection.execute(named.encode(), values).fetchall()


@contextmanager
def _looking_at_postgres(url: str) -> Iterator[Look]:
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = connection.execute("SELECT to_regclass('daemons')::text").fetchone()
        yield _PostgresLook(connection) if found and found[0] else _Nothing()
