"""What unit tests share: a log that keeps its lines, a store without a thread, children."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from supervisor.clock import VirtualClock
from tests.unit.inline_database import InlineDatabase
from tests.unit.nursery import Nursery
from tests.unit.recorded_log import RecordedLog

# How long an example takes is the machine's affair: no test is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def recorded() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
def inline_store() -> Iterator[InlineDatabase]:
    database = InlineDatabase()
    yield database
    database.disconnect()


@pytest.fixture
def nursery(clock: VirtualClock) -> Nursery:
    return Nursery(clock)
