"""An installation whose store is on Postgres: the same daemon, commands and looks."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import psycopg

from tests.databases import Kind, store_url
from tests.e2e.daemon_process import Installation, Row, Tables


class PostgresInstallation(Installation):
    """A folder as a user has it, whose config names a database on a Postgres server."""

    def __init__(self, folder: Path, server_url: str) -> None:
        super().__init__(folder)
        self.url = store_url("postgres", folder, server_url)

    def configure(self, tables: Tables) -> None:
        """Write the config, with the database's URL in it."""
        section = {"database": self.url, **tables.get("supervisor", {})}
        super().configure({**tables, "supervisor": section})

    def rows(self, sql: str, *values: object) -> list[Row]:
        """Ask the store; nothing where it has no tables yet."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            try:
                rows = connection.execute(_translated(sql), values or None).fetchall()
            except psycopg.errors.UndefinedTable:
                return []
        # What Postgres adds up comes as a decimal number, and is a whole one all the same.
        return [tuple(int(v) if isinstance(v, Decimal) else v for v in row) for row in rows]


def _translated(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()


def installation_on(kind: Kind, folder: Path, server_url: str) -> Installation:
    """Return an installation on either database."""
    return PostgresInstallation(folder, server_url) if kind == "postgres" else Installation(folder)
