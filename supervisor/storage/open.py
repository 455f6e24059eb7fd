"""The one place that turns a database URL into a driver."""

from __future__ import annotations

from pathlib import Path

from supervisor.errors import StoreUnavailable
from supervisor.storage.database import Database


async def open_database(
    url: str, *, state_dir: Path, now_us: int, is_read_only: bool = False
) -> Database:
    """Open the store, migrate it where it may be written, and check that it is sound.

    `url` is `sqlite` (a file in `state_dir`), `sqlite:///path`, or `postgresql://...` as libpq
    reads it. With `is_read_only` the store must exist and be of this version; nothing is created
    or changed.

    Raises:
        StoreUnavailable: it can't be opened, is damaged, or is of another version.
    """
    if is_postgres(url):
        _check_installed()
        from supervisor.storage.postgres_open import open_postgres

        return await open_postgres(url, now_us=now_us, is_read_only=is_read_only)
    from supervisor.storage.sqlite_file import open_sqlite

    return await open_sqlite(
        sqlite_path(url, state_dir=state_dir), now_us=now_us, is_read_only=is_read_only
    )


def _check_installed() -> None:
    try:
        import psycopg  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise StoreUnavailable(
            subject="store postgresql://...",
            what=f"its driver is not installed ({error})",
            fix="install it: pip install 'acp-supervisor[postgres]'",
        ) from error


def is_postgres(url: str) -> bool:
    """Return whether `url` names a Postgres server."""
    return url.startswith(("postgresql://", "postgres://"))


def store_name(url: str, *, state_dir: Path) -> str:
    """Return the store as it may be shown: a path, or a URL without its password."""
    if not is_postgres(url):
        return str(sqlite_path(url, state_dir=state_dir))
    _check_installed()
    from supervisor.storage.postgres_target import parse_url

    return parse_url(url).name


def store_exists(url: str, *, state_dir: Path) -> bool:
    """Return whether anything has been stored yet, also where that can't be read now.

    For the command line: a server is asked, and waited for.
    """
    if is_postgres(url):
        _check_installed()
        from supervisor.storage.postgres_open import is_unused

        return not is_unused(url)
    path = sqlite_path(url, state_dir=state_dir)
    # A log without its database is a damaged store, not a missing one.
    return path.exists() or path.with_name(f"{path.name}-wal").exists()


def sqlite_path(url: str, *, state_dir: Path) -> Path:
    """Return the database file that `url` names; a relative path is one in the state directory."""
    _, _, path = url.partition("sqlite:///")
    return state_dir / (path or "supervisor.db")
