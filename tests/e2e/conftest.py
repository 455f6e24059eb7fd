"""What the end-to-end tests share: an installation, a server that bills, and measured figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.databases import KINDS, Kind
from tests.e2e.billing_server import BillingServer, running_billing_server
from tests.e2e.both_databases import installation_on
from tests.e2e.daemon_process import Installation, installed

Measure = Callable[[str, str], None]

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A folder to run the daemon in; its processes end with the test."""
    with installed(tmp_path / "site") as site:
        yield site


@pytest.fixture(params=KINDS)
def on_both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """The same on SQLite and on Postgres."""
    kind: Kind = request.param
    server = request.getfixturevalue("postgres_url") if kind == "postgres" else ""
    site = installation_on(kind, tmp_path / "site", server)
    yield site
    site.end()


@pytest.fixture
def billing(tmp_path: Path) -> Iterator[BillingServer]:
    """A paid model that counts what it bills."""
    with running_billing_server(tmp_path) as server:
        yield server


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Note a figure, to be printed at the end of the run; nothing is asserted on it."""
    figures = request.config.stash.setdefault(_FIGURES, [])

    def note(what: str, figure: str) -> None:
        figures.append(f"{what}: {figure}")

    return note


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was measured."""
    for figure in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(f"measured  {figure}")
