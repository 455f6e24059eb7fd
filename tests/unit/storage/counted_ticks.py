"""A write that shows when it was done twice: it counts."""

from __future__ import annotations

import asyncio

import msgspec

from supervisor.errors import StoreUnavailable
from supervisor.storage.database import Database, Transaction


class Counted(msgspec.Struct, frozen=True):
    """A worker's row, of which only this matters here."""

    name: str
    last_tick: int


def count(tx: Transaction, name: str) -> int:
    """Make the count of `name` one larger, and publish its name."""
    tx.run("workers.register", name=name, life="running")
    row = tx.row("workers.by_name", Counted, name=name)
    assert row is not None
    tx.run("workers.count_tick", name=name, session_id=None, number=row.last_tick + 1)
    tx.publish(name)
    return row.last_tick + 1


def counts(tx: Transaction) -> dict[str, int]:
    """Return every count by its name."""
    return {row.name: row.last_tick for row in tx.rows("workers.all", Counted)}


def _count_both(tx: Transaction, name: str) -> int:
    count(tx, "shared")
    return count(tx, name)


class Writers:
    """Callers that write without a pause, each time another name, and what they were told."""

    def __init__(self, database: Database, number: int) -> None:
        self._database = database
        self._is_done = False
        self._writing = asyncio.gather(*(self._write(one) for one in range(number)))
        self._first_answer = asyncio.Event()
        self.answered: set[str] = set()
        self.refused: set[str] = set()
        self.unknown: set[str] = set()

    async def _write(self, number: int) -> None:
        turn = 0
        while not self._is_done:
            turn += 1
            name = f"w{number}.{turn}"
            try:
                assert await self._database.write(_count_both, name) == 1
                self.answered.add(name)
                self._first_answer.set()
            except StoreUnavailable as error:
                is_unknown = "outcome is unknown" in str(error)
                (self.unknown if is_unknown else self.refused).add(name)

    async def stop(self) -> None:
        """Let each finish what it has asked for, but not before one was answered."""
        await self._first_answer.wait()
        self._is_done = True
        await self._writing

    async def check(self) -> None:
        """What was answered is there once, what was refused is not, and nothing else is."""
        kept = await self._database.read(counts)
        shared = kept.pop("shared")
        assert set(kept.values()) == {1}
        assert shared == len(kept)
        assert self.answered <= kept.keys()
        assert not self.refused & kept.keys()
        assert kept.keys() - self.answered <= self.unknown
