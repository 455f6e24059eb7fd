"""The facts that maintenance lives on: committed events of one worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from supervisor.clock import VirtualClock
from supervisor.events import kinds
from supervisor.events.log import Origin, Recorded
from tests.unit.maintenance.restored_site import RestoredSite

Fact = Callable[..., Recorded]


@pytest.fixture
def site(tmp_path: Path, clock: VirtualClock) -> RestoredSite:
    """A store to back up and put back."""
    return RestoredSite(tmp_path, clock)


@pytest.fixture
def fact(clock: VirtualClock) -> Fact:
    """Return an event as a listener gets it, made now or at `at`."""

    def fact(event: kinds.Event, *, at: datetime | None = None) -> Recorded:
        origin = Origin(at=at or clock.now(), actor="worker:a")
        return Recorded(session_id="a@2026-06-01T10:00Z", seq=1, origin=origin, event=event)

    return fact
