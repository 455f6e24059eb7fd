"""Where a test's store is, on either database."""

from __future__ import annotations

from pathlib import Path

import msgspec

from supervisor.clock import to_us
from supervisor.storage.database import Database
from supervisor.storage.open import open_database
from supervisor.storage.postgres import PostgresDatabase
from supervisor.storage.sqlite import SqliteDatabase
from tests.conftest import START
from tests.databases import Kind, store_url


class Site(msgspec.Struct, frozen=True):
    """A place for one store, that can be opened as often as a test likes."""

    kind: Kind
    folder: Path
    url: str
    server_url: str = ""

    def beside(self, name: str) -> Site:
        """Return a place for another store of the same kind, an empty one."""
        folder = self.folder / name
        folder.mkdir()
        url = store_url(self.kind, folder, self.server_url)
        return Site(kind=self.kind, folder=folder, url=url, server_url=self.server_url)

    async def open(self, *, is_read_only: bool = False) -> Database:
        """Open the store, which is made and migrated where it is new."""
        return await open_database(
            self.url, state_dir=self.folder, now_us=to_us(START), is_read_only=is_read_only
        )

    async def hurry(self, database: Database) -> None:
        """Let the store wait for a lock for a moment only, instead of 5 s."""
        if isinstance(database, SqliteDatabase):
            await database._writer.submit(lambda c: c.execute("PRAGMA busy_timeout = 20"))
            return
        assert isinstance(database, PostgresDatabase)
        assert database._writer is not None
        await database._writer.submit(lambda link: link.connected().execute(_HURRY))

    def listen_only(self, database: Database) -> None:
        """Let Postgres tell of foreign commits only by what it hears, without its safety net."""
        if isinstance(database, PostgresDatabase):
            assert database._listening is not None
            database._listening.poll_s = 3600.0


_HURRY = "SET lock_timeout = '20ms'"
