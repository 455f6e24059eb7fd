"""The one place that turns a database URL into a driver."""

from __future__ import annotations

from pathlib import Path

from supervisor.storage.database import Database


async def open_database(
    url: str, *, state_dir: Path, now_us: int, is_read_only: bool = False
) -> Database:
    """Open the store, migrate it where it may be written, and check that it is sound.

    `url` is `sqlite` (a file in `state_dir`) or `sqlite:///path`. With `is_read_only` the store
    must exist and be of this version; nothing is created or changed.

    Raises:
        StoreUnavailable: it can't be opened, is damaged, or is of another version.
    """
    from supervisor.storage.sqlite_file import open_sqlite

    return await open_sqlite(
        sqlite_path(url, state_dir=state_dir), now_us=now_us, is_read_only=is_read_only
    )


def is_postgres(url: str) -> bool:
    """Return whether `url` names a Postgres server."""
    return url.startswith(("postgresql://", "postgres://"))


def sqlite_path(url: str, *, state_dir: Path) -> Path:
    """Return the database file that `url` names; a relative path is one in the state directory."""
    _, _, path = url.partition("sqlite:///")
    return state_dir / (path or "supervisor.db")
