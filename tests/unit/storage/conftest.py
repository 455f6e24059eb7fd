"""A Postgres store that is reached by a way that can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.storage.postgres import PostgresDatabase
from supervisor.storage.postgres_open import open_postgres
from tests.databases import store_url
from tests.unit.storage.cut_network import Network


@pytest.fixture
def direct_url(tmp_path: Path, postgres_url: str) -> str:
    """The URL of an empty database, straight."""
    return store_url("postgres", tmp_path, postgres_url)


@pytest.fixture
async def network(direct_url: str) -> AsyncIterator[Network]:
    """A way to it."""
    async with Network(direct_url) as way:
        yield way


@pytest.fixture
async def database(network: Network) -> AsyncIterator[PostgresDatabase]:
    """The store, open by that way."""
    opened = await open_postgres(network.url, now_us=1, is_read_only=False)
    yield opened
    network.thaw()
    await opened.close()
