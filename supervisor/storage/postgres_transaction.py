"""A Postgres transaction as the domain sees it: named statements, rows as values."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping

import psycopg

from supervisor.redaction import REDACTION
from supervisor.storage import statements
from supervisor.storage.database import RowT, Value
from supervisor.storage.group_commit import parse
from supervisor.storage.memory import Memory, RememberingTransaction, Waiting
from supervisor.storage.postgres_link import Connection
from supervisor.storage.postgres_text import with_nul, without_nul

DIALECT = "postgres"
#: Rows that a stream holds in memory.
_PAGE_ROWS = 500

_stream_numbers = itertools.count()

#: The columns of each statement's rows; as many as there are statements.
_columns_by_name: dict[str, tuple[str, ...]] = {}


@functools.cache
def load_statements() -> dict[str, str]:
    """Return every statement by its name, its parameters as psycopg writes them."""
    return {name: translate(text) for name, text in statements.load(DIALECT).items()}


def translate(text: str) -> str:
    """Return a statement with `%(name)s` for `:name`, and without its comments."""

    def replace(token: re.Match[str]) -> str:
        if token["name"]:
            return f"%({token['name']})s"
        return "" if token[0].startswith("--") else token[0]

    return statements.TOKEN.sub(replace, text.replace("%", "%%")).strip()


class PostgresTransaction(RememberingTransaction):
    """One open transaction; used only on its connection's thread."""

    def __init__(self, connection: Connection, memory: Memory | None = None) -> None:
        super().__init__(load_statements(), memory)
        self._connection = connection
        self._cursor = connection.cursor()

    def run(self, statement: str, /, **values: Value) -> int:
        return self._execute(statement, values).rowcount

    def rows(self, statement: str, into: type[RowT], /, **values: Value) -> list[RowT]:
        cursor = self._execute(statement, values)
        columns = _columns(statement, cursor)
        return [parse(columns, with_nul(found), into) for found in cursor.fetchall()]

    def row(self, statement: str, into: type[RowT], /, **values: Value) -> RowT | None:
        cursor = self._execute(statement, values)
        found = cursor.fetchone()
        return None if found is None else parse(_columns(statement, cursor), with_nul(found), into)

    def each(self, statement: str, into: type[RowT], /, **values: Value) -> Iterator[RowT]:
        text = self._named[statement]
        self._before(text)
        # A cursor in the server, of its own: other statements run while this one is read.
        with self._connection.cursor(f"stream_{next(_stream_numbers)}") as cursor:
            cursor.itersize = _PAGE_ROWS
            cursor.execute(text, without_nul(REDACTION.values(values)))
            columns = _columns(statement, cursor)
            for found in cursor:
                yield parse(columns, with_nul(found), into)

    def copies(self, statement: str, /, **values: Value) -> list[dict[str, Value]]:
        cursor = self._execute(statement, values)
        columns = _columns(statement, cursor)
        return [dict(zip(columns, with_nul(found), strict=True)) for found in cursor.fetchall()]

    def _execute(
        self, statement: str, values: Mapping[str, Value]
    ) -> psycopg.Cursor[tuple[Value, ...]]:
        text = self._named[statement]
        self._before(text)
        return self._cursor.execute(text, without_nul(REDACTION.values(values)), prepare=True)

    def _run_all(self, waiting: Waiting) -> list[int]:
        # One way to the server and back for all of them.
        cursors = [self._connection.cursor() for _ in waiting]
        with self._connection.pipeline():
            for cursor, (later, rows) in zip(cursors, waiting, strict=True):
                named = [without_nul(dict(zip(later.columns, row, strict=True))) for row in rows]
                cursor.executemany(self._named[later.statement], named)
        return [cursor.rowcount for cursor in cursors]


def _columns(statement: str, cursor: psycopg.Cursor[tuple[Value, ...]]) -> tuple[str, ...]:
    columns = _columns_by_name.get(statement)
    if columns is None:
        assert cursor.description is not None, f"{statement} returns no rows"
        columns = tuple(column.name for column in cursor.description)
        _columns_by_name[statement] = columns
    return columns
