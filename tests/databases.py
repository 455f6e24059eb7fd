"""Stores of either kind, for tests that run on both."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import msgspec
import psycopg
from psycopg import sql

from supervisor.clock import to_us
from supervisor.storage.database import Database
from supervisor.storage.open import open_database

Kind: TypeAlias = Literal["sqlite", "postgres"]

KINDS: tuple[Kind, ...] = ("sqlite", "postgres")

#: What each driver raises where a statement breaks a rule of the schema.
BROKEN_RULES = (sqlite3.IntegrityError, psycopg.IntegrityError)

NO_SUCH_TABLE = (sqlite3.OperationalError, psycopg.errors.UndefinedTable)

#: Databases of a test session are made under this name and the process's id.
_PREFIX = "supervisor_test"
#: A database takes 8 MB; a property test makes one for each example.
_DATABASES_KEPT = 24

_made: dict[str, str] = {}


def store_url(kind: Kind, folder: Path, postgres_url: str) -> str:
    """Return the URL of the store that belongs to `folder`, an empty one if it is new.

    For Postgres that is a database on the server of `postgres_url`, made here; the same folder
    gives the same one again. The oldest that nobody has open are dropped.
    """
    if kind == "sqlite":
        return f"sqlite:///{folder / 'supervisor.db'}"
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    name = f"{_PREFIX}_{os.getpid()}_{digest}"
    if name not in _made:
        _make(name, postgres_url)
    return _made[name]


def _make(name: str, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as server:
        for old in list(_made)[: -_DATABASES_KEPT or None]:
            _drop(server, old)
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    _made[name] = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))


def _drop(server: psycopg.Connection, name: str) -> None:
    try:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    except psycopg.errors.ObjectInUse:
        return
    _made.pop(name, None)  # another thread may have dropped it at the same time


def drop_databases(postgres_url: str) -> None:
    """Drop every database that this process has made and nobody has open."""
    if _made:
        with psycopg.connect(postgres_url, autocommit=True) as server:
            for name in list(_made):
                _drop(server, name)


_BYTES = re.compile(r"\bx'([0-9a-f]*)'")


class RawConnection:
    """A plain connection to a store, beside its driver; parameters are written as `?`."""

    def __init__(self, url: str) -> None:
        self._sqlite: sqlite3.Connection | None = None
        self._postgres: psycopg.Connection | None = None
        if url.startswith("sqlite:///"):
            self._sqlite = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        else:
            self._postgres = psycopg.connect(url, autocommit=True)

    def run(self, statement: str, *values: object) -> int:
        """Run a statement and return how many rows it changed."""
        if self._sqlite is not None:
            return self._sqlite.execute(statement, values).rowcount
        return self._execute(statement, values).rowcount

    def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        if self._sqlite is not None:
            return self._sqlite.execute(statement, values).fetchall()
        return self._execute(statement, values).fetchall()

    def _execute(self, statement: str, values: tuple[object, ...]) -> psycopg.Cursor:
        assert self._postgres is not None
        text = _BYTES.sub(r"'\\x\1'::bytea", statement)
        if values:
            text = text.replace("%", "%%").replace("?", "%s")
        return self._postgres.execute(text, values or None)

    def event(self, kind: str, *, number: int = 0) -> tuple[str, int]:
        """Return the session and the number of an event of a kind, counted from 0."""
        found = self.rows(
            "SELECT session_id, seq FROM events WHERE kind = ? ORDER BY position", kind
        )
        return msgspec.convert(found[number], tuple[str, int])

    def drop_rules(self) -> None:
        """Take away every trigger and check, so that the store can be damaged."""
        if self._sqlite is not None:
            self.run("PRAGMA ignore_check_constraints = ON")
            for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
                self.run(f"DROP TRIGGER {name}")
            return
        self.run("SET session_replication_role = replica")  # neither triggers nor foreign keys
        for table, name in self.rows(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c'"
            " AND connamespace = current_schema()::regnamespace"
        ):
            self.run(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')

    def close(self) -> None:
        """Close the connection."""
        for connection in (self._sqlite, self._postgres):
            if connection is not None:
                connection.close()


@asynccontextmanager
async def opened_database(kind: Kind, folder: Path, postgres_url: str) -> AsyncIterator[Database]:
    """Open the store that belongs to `folder`, made and migrated where it is new."""
    database = await open_database(
        store_url(kind, folder, postgres_url),
        state_dir=folder,
        now_us=to_us(datetime(2026, 6, 1, 10, 30, tzinfo=UTC)),
    )
    try:
        yield database
    finally:
        await database.close()
