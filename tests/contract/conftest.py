"""Every test of this folder runs on SQLite and on Postgres, on a store that is empty at first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from supervisor.clock import VirtualClock
from supervisor.storage.database import Database
from supervisor.storage.postgres_transaction import load_statements, translate
from supervisor.storage.sqlite import SqliteDatabase
from tests.contract.driven_store import DrivenStore
from tests.contract.retained_life import RetainedLife
from tests.contract.site import Site
from tests.databases import KINDS, Kind, RawConnection, store_url
from tests.unit.governance.recorded_life import RecordedLife, live_a_day
from tests.unit.maintenance.test_recovery import DeadLife
from tests.unit.worker.conftest import Bench

RECOVERY_QUERIES = {
    "recovery_test.tick": "SELECT worker, number, outcome, why FROM ticks"
    " WHERE worker = :worker AND number = :number",
    "recovery_test.sums": "SELECT settled, held FROM accounts"
    " WHERE scope = 'system' AND period = 'day'",
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """The database that the test runs on."""
    found: Kind = request.param
    return found


@pytest.fixture(autouse=True)
def _on_both(kind: Kind) -> None:
    """Let also a test that asks for no store run twice: the counts are equal, then."""


@pytest.fixture
def site(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    """Where the test's store is; nothing has been opened yet."""
    server = request.getfixturevalue("postgres_url") if kind == "postgres" else ""
    url = store_url(kind, tmp_path, server)
    return Site(kind=kind, folder=tmp_path, url=url, server_url=server)


@pytest.fixture
async def database(site: Site) -> AsyncIterator[Database]:
    """A fresh, migrated store."""
    opened = await site.open()
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> Database:
    """The same under the name by which the unit tests know it."""
    return database


@pytest.fixture
def raw(database: Database, site: Site) -> Iterator[RawConnection]:
    """A plain connection to the store of `database`."""
    connection = RawConnection(site.url)
    yield connection
    connection.close()


@pytest.fixture
def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> Bench:
    return Bench(database, clock, tmp_path)


@pytest.fixture
def life(database: Database, clock: VirtualClock) -> RecordedLife:
    return RecordedLife(database, clock)


@pytest.fixture
def damage(day: RecordedLife, raw: RawConnection) -> RawConnection:
    """A way to write into the store of `day` behind its back, its rules gone."""
    raw.drop_rules()
    return raw


@pytest.fixture
def dead(database: Database, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> DeadLife:
    """A life that has ended, and two queries for what is left of it."""
    for name, text in RECOVERY_QUERIES.items():
        if isinstance(database, SqliteDatabase):
            monkeypatch.setitem(database._statements, name, text)
        else:
            monkeypatch.setitem(load_statements(), name, translate(text))
    return DeadLife(database, clock)


@pytest.fixture
async def day(life: RecordedLife) -> RecordedLife:
    """A life with a day in it, whose store is sound."""
    await live_a_day(life)
    return life


@pytest.fixture
def aged(
    life: RecordedLife, database: Database, raw: RawConnection, tmp_path: Path
) -> RetainedLife:
    return RetainedLife(life, database, raw, tmp_path / "exports")


@pytest.fixture
async def old(aged: RetainedLife) -> RetainedLife:
    """A store with six days of work, the first of them with all that can happen."""
    await live_a_day(aged.life)
    await aged.days(5)
    assert (await aged.life.audit()).is_clean
    return aged


@pytest.fixture
def make_driven(site: Site) -> Iterator[Callable[[], DrivenStore]]:
    """A way to make empty stores for tests without a loop; they are closed with the test."""
    made: list[DrivenStore] = []

    def make() -> DrivenStore:
        made.append(DrivenStore(site.beside(f"driven-{len(made)}")))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def guarded(bench: Bench) -> Bench:
    """A bench with every breaker."""
    from tests.unit.worker.breaker_bench import with_breakers

    return with_breakers(bench)
