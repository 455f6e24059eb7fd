"""Stores of either kind, made for a measurement."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from bench.raw_loop import RawLoop, SqliteLoop

Kind: TypeAlias = Literal["sqlite", "postgres"]

#: The length at which the product's own log is checkpointed: storage/sqlite_file.py.
_LOG_PAGES = 4_000
_PAGE_BYTES = 4_096

KINDS: tuple[Kind, ...] = ("sqlite", "postgres")


class Stores(Protocol):
    """One database's stores; `folder` is on the disk that they are written to."""

    kind: Kind
    version: str
    folder: Path

    def make(self) -> str:
        """Return the URL of a store that does not exist yet, or is empty."""
        ...

    def copy(self, source: Path) -> str:
        """Return the URL of a new store with all that the SQLite file `source` holds."""
        ...

    def season(self, url: str) -> None:
        """Bring an open store into the state in which a long life keeps it, whatever it holds."""
        ...

    def bytes_on_disk(self, url: str) -> int:
        """Return what the store's tables and indexes take."""
        ...

    def raw_loop(self) -> RawLoop:
        """Return the yardstick of this database."""
        ...

    def clear(self) -> None:
        """Remove what was made."""
        ...


class SqliteStores:
    """Files in one folder."""

    kind: Kind = "sqlite"
    version = sqlite3.sqlite_version

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()

    def make(self) -> str:
        return f"sqlite:///{self._new_path()}"

    def copy(self, source: Path) -> str:
        path = self._new_path()
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(path)) as new:
            old.backup(new)
        return f"sqlite:///{path}"

    def _new_path(self) -> Path:
        return self.folder / f"store-{next(self._numbers)}.db"

    def season(self, url: str) -> None:
        # A log that still grows costs a write of the file's length with each commit; after the
        # first checkpoint it is overwritten in place.
        with closing(sqlite3.connect(_path(url), isolation_level=None)) as connection:
            connection.execute("CREATE TABLE filler (page BLOB)")
            connection.execute("BEGIN")
            page = (b"\0" * _PAGE_BYTES,)
            connection.executemany("INSERT INTO filler VALUES (?)", [page] * _LOG_PAGES)
            connection.execute("COMMIT")
            connection.execute("DROP TABLE filler")
            connection.execute("PRAGMA wal_checkpoint(RESTART)")

    def bytes_on_disk(self, url: str) -> int:
        path = _path(url)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.stat().st_size

    def raw_loop(self) -> RawLoop:
        return SqliteLoop(self._new_path())

    def clear(self) -> None:
        for file in self.folder.glob("store-*"):
            file.unlink()


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def columns_by_table(source: sqlite3.Connection) -> dict[str, Sequence[str]]:
    """Return the columns of every table, those that others refer to first."""
    tables = source.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'schema_migrations'"
        " ORDER BY name <> 'sessions', name"
    )
    return {
        table: [
            column for (column,) in source.execute("SELECT name FROM pragma_table_info(?)", row)
        ]
        for row in tables.fetchall()
        for table in row
    }
