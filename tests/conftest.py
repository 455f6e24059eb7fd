"""What every test can ask for: a store, and a clock that moves when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.clock import VirtualClock, to_us
from supervisor.storage.database import Database
from supervisor.storage.open import open_database

START = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Database]:
    """A fresh, migrated store. Issue 3 runs the same tests on a second driver."""
    database = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    yield database
    await database.close()


@pytest.fixture
def database(store: Database) -> Database:
    """The same; in tests/contract it is one of either kind."""
    return store
