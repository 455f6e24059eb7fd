"""Which migrations a store still needs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from supervisor.errors import StoreDamaged, StoreTooNew

_MIGRATIONS = Path(__file__).parent / "migrations"


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `schema_migrations`."""

    number: int
    name: str
    checksum: str


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered, forward-only file of DDL, run in one transaction of its own."""

    number: int
    name: str
    checksum: str
    sql: str


def available(dialect: str) -> list[Migration]:
    """Return the dialect's migrations in order; files are named `0001_what.sql`."""
    return [_load(path) for path in sorted((_MIGRATIONS / dialect).glob("*.sql"))]


def pending(
    migrations: Sequence[Migration], applied: Sequence[Applied], *, store: str
) -> list[Migration]:
    """Return what is still to run.

    Raises:
        StoreTooNew: the store has migrations that this version does not know.
        StoreDamaged: a migration was edited after it had run here.
    """
    known = {migration.number: migration for migration in migrations}
    for row in applied:
        migration = known.get(row.number)
        if migration is None:
            raise StoreTooNew(
                subject=f"store {store}",
                what=f"has schema {row.number} ({row.name}), "
                f"this version knows up to {max(known)}; nothing was changed",
                fix="install the version of acp-supervisor that wrote it, or a newer one",
            )
        if migration.checksum != row.checksum:
            raise StoreDamaged(
                subject=f"store {store}",
                what=f"migration {row.number} ({row.name}) is not the one that ran here",
                fix="reinstall acp-supervisor; a migration is never edited after its release",
            )
    done = {row.number for row in applied}
    return [migration for migration in migrations if migration.number not in done]


def _load(path: Path) -> Migration:
    number, _, name = path.stem.partition("_")
    sql = path.read_text(encoding="utf-8")
    checksum = hashlib.sha256(sql.encode()).hexdigest()
    return Migration(number=int(number), name=name, checksum=checksum, sql=sql)
