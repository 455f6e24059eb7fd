"""A simulated store is the driver's: whole transactions, in order, and deaths between two lines."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

import anyio
import msgspec
import pytest

from supervisor.errors import StoreUnavailable
from supervisor.simulation.store import Disk, LifeOver, LifeStore
from supervisor.simulation.virtual_time import SimulatedClock, VirtualLoop
from supervisor.storage.database import Transaction
from supervisor.worker.records import register_worker

START = datetime(2026, 6, 1, tzinfo=UTC)


class Fate:
    """Kills the process before or after its n-th commit from now, or locks the store."""

    def __init__(self, die: Callable[[], None] = lambda: None) -> None:
        self.die = die
        self.before = self.after = 0
        self.lock = ""

    def locked_for(self) -> str:
        return self.lock

    def _dies(self, left: int) -> bool:
        if left == 1:
            self.die()
        return left == 1

    def dies_before_commit(self) -> bool:
        dies, self.before = self._dies(self.before), self.before - 1
        return dies

    def dies_after_commit(self) -> bool:
        dies, self.after = self._dies(self.after), self.after - 1
        return dies


class _Name(msgspec.Struct, frozen=True):
    name: str


def names(tx: Transaction) -> list[str]:
    return [row.name for row in tx.rows("workers.all", _Name)]


def fails(tx: Transaction) -> None:
    register_worker(tx, "half", "running")
    raise ValueError("on purpose")


class Site:
    """A disk, and one life after the other on it."""

    def __init__(self) -> None:
        self.published: list[object] = []
        self.distrusted: list[str] = []
        self.disk = Disk(self.published.extend, lambda error: self.distrusted.append(str(error)))
        self.fate = Fate()

    def live(self, story: Callable[[LifeStore], Awaitable[object]]) -> object:
        loop = VirtualLoop(SimulatedClock(START))
        store = LifeStore(self.disk, self.fate, random.Random(1))  # noqa: S311 - a test's

        def die() -> None:
            store.cut_off()
            loop.cut_off()

        self.fate.die = die

        async def main() -> object:
            return await story(store)

        return loop.live(main())


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.disk.close()


def test_writes_are_run_in_the_order_of_their_calls_and_answered_after_the_commit(
    site: Site,
) -> None:
    async def story(store: LifeStore) -> list[str]:
        first = store.write(register_worker, "one", "running")
        second = store.write(names)
        await first
        return await second

    assert site.live(story) == ["one"]


def test_nothing_is_kept_of_a_commit_that_the_process_dies_before(site: Site) -> None:
    site.fate.before = 1

    async def story(store: LifeStore) -> None:
        await store.write(register_worker, "one", "running")
        raise AssertionError("a dead process is answered")

    assert site.live(story) is None
    assert site.disk.read(names) == []


def test_a_commit_that_the_process_dies_after_is_kept_and_nobody_hears_of_it(site: Site) -> None:
    site.fate.after = 1

    async def story(store: LifeStore) -> None:
        await store.write(register_worker, "one", "running")
        raise AssertionError("a dead process is answered")

    assert site.live(story) is None
    assert site.disk.read(names) == ["one"]


def test_a_life_that_is_over_writes_nothing_on_its_way_out(site: Site) -> None:
    site.fate.after = 1
    tried: list[str] = []

    async def story(store: LifeStore) -> None:
        try:
            await store.write(register_worker, "one", "running")
        finally:
            tried.append("again")
            with pytest.raises(LifeOver):
                store.write(register_worker, "two", "running")

    site.live(story)
    assert tried == ["again"]
    assert site.disk.read(names) == ["one"]


def test_a_locked_store_takes_nothing_and_answers_nothing(site: Site) -> None:
    async def story(store: LifeStore) -> int:
        site.fate.lock = "is locked"
        with pytest.raises(StoreUnavailable):
            await store.write(register_worker, "one", "running")
        with pytest.raises(StoreUnavailable):
            await store.read(names)
        site.fate.lock = ""
        await store.write(register_worker, "two", "running")
        return store.write_failures()

    assert site.live(story) == 1
    assert site.disk.read(names) == ["two"]


def test_a_transaction_that_raises_fails_alone_and_is_distrusted(site: Site) -> None:
    async def story(store: LifeStore) -> None:
        good, bad = store.write(register_worker, "one", "running"), store.write(fails)
        await good
        with pytest.raises(ValueError, match="on purpose"):
            await bad

    site.live(story)
    assert site.disk.read(names) == ["one"]
    assert site.distrusted == ["on purpose"]


def test_a_cancelled_writer_does_not_tear_its_transaction(site: Site) -> None:
    async def story(store: LifeStore) -> None:
        with anyio.move_on_after(0.0):
            await store.write(register_worker, "one", "running")
        await anyio.sleep(1.0)

    site.live(story)
    assert site.disk.read(names) == ["one"]
