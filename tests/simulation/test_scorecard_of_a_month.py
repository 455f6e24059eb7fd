"""What `simulate` prints is what `supervisor scorecard` reads from the same record."""

from __future__ import annotations

import msgspec
import pytest

from supervisor.config import Loaded
from supervisor.governance.event_reading import EventReading
from supervisor.governance.figures import Figures, Totals
from supervisor.governance.scorecard import Card, Wanted, read_scorecards
from supervisor.ledger.periods import Period
from supervisor.simulation.month_end import scorecard_of
from supervisor.simulation.world import Settings, World
from supervisor.storage.database import Transaction


def folded(tx: Transaction) -> Figures:
    figures = Figures()
    for _, event in EventReading(tx).since(0):
        assert event is not None
        figures.add(event)
    return figures


@pytest.mark.parametrize("seed", [1, 2])
def test_both_tell_the_same_of_days_of_misfortune(loaded: Loaded, seed: int) -> None:
    world = World(loaded, Settings(seed=seed, days=3, has_faults=True))
    world.run()
    try:
        told = scorecard_of(world)
        stored = world.disk.read(folded)
        wanted = Wanted(
            by="day", period=Period.DAY, windows_max=10, worker=None, timezone=loaded.timezone
        )
        found = world.disk.read(read_scorecards, wanted, world.clock.now())
    finally:
        world.close()
    assert told.failure is None
    assert world.rules.figures == stored
    totals = stored.totals()
    for field in msgspec.structs.fields(Totals):
        assert getattr(told, field.name) == getattr(totals, field.name), field.name
    assert sum(card.events for card in found.windows) + found.events_ahead == told.events
    assert {field.name for field in msgspec.structs.fields(Totals)} < set(Card.__struct_fields__)
