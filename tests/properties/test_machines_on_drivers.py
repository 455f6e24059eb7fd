"""The same machines on the real drivers: fewer examples, each on a database of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from supervisor.clock import to_us
from supervisor.storage.database import Database
from supervisor.storage.open import open_database
from tests.conftest import START
from tests.databases import Kind, store_url
from tests.properties.effort import effort
from tests.properties.stores import Driven, Store
from tests.properties.test_breakers_machine import BreakersMachine
from tests.properties.test_commands_machine import CommandsMachine
from tests.properties.test_events_machine import EventsMachine
from tests.properties.test_jobs_machine import JobsMachine
from tests.properties.test_kill_switch_machine import KillSwitchMachine
from tests.properties.test_ledger_machine import LedgerMachine
from tests.properties.test_sessions_machine import SessionsMachine

pytestmark = pytest.mark.timeout(3_600)

EXAMPLES: dict[Kind, int] = {"sqlite": 5, "postgres": 4}
STEPS = 25

Opened = Callable[[], Store]


@pytest.fixture
def opened(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> Opened:
    """What opens a new store of the kind."""
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else ""
    numbers = itertools.count()

    def open_next() -> Store:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()

        async def open_it() -> Database:
            its_own = store_url(kind, folder, url)
            return await open_database(its_own, state_dir=folder, now_us=to_us(START))

        return Driven(open_it)

    return open_next


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
@pytest.mark.parametrize(
    "machine",
    [
        BreakersMachine,
        CommandsMachine,
        EventsMachine,
        JobsMachine,
        KillSwitchMachine,
        LedgerMachine,
        SessionsMachine,
    ],
    ids=lambda machine: machine.__name__,
)
def test_machine_on_a_driver(
    machine: type[RuleBasedStateMachine], kind: Kind, opened: Opened
) -> None:
    class OnDriver(machine):  # type: ignore[misc, valid-type] # a class that a test is given
        def opened(self) -> Store:
            return opened()

    settings = effort(examples=EXAMPLES[kind], steps=STEPS)
    run_state_machine_as_test(OnDriver, settings=settings)
