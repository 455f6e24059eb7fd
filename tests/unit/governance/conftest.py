"""A store with a day in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.clock import VirtualClock
from supervisor.storage.database import Database
from tests.unit.governance.recorded_life import Damage, RecordedLife, live_a_day


@pytest.fixture
def life(store: Database, clock: VirtualClock) -> RecordedLife:
    return RecordedLife(store, clock)


@pytest.fixture
async def day(life: RecordedLife) -> RecordedLife:
    """A life with a day in it, whose store is sound."""
    await live_a_day(life)
    return life


@pytest.fixture
def damage(day: RecordedLife, tmp_path: Path) -> Iterator[Damage]:
    """A way to write into the store of `day` behind its back."""
    damage = Damage(tmp_path / "supervisor.db")
    yield damage
    damage.close()
