"""A store whose batches stay on their way until the test ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from supervisor.errors import StoreUnavailable
from supervisor.storage.database import Transaction
from supervisor.storage.group_commit import Batch, Committed, Failed

_QUICK_S = 0.0001


async def settled() -> None:
    """Let the event loop run until nothing is left to do at once."""
    for _ in range(8):
        await asyncio.sleep(0)


def note(_: Transaction, number: int) -> int:
    return number


class HeldDisk:
    """Commits a batch when it is told to, and says how long it took."""

    def __init__(self, *, waited_s: float = _QUICK_S) -> None:
        self.waited_s = waited_s
        self.batches: list[list[object]] = []
        self._answers: list[tuple[Batch, asyncio.Future[Committed]]] = []

    def commit(self, batch: Batch) -> asyncio.Future[Committed]:
        answer: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self.batches.append([write.arguments[0] for write in batch])
        self._answers.append((batch, answer))
        return answer

    @property
    def in_flight(self) -> list[int]:
        return [len(batch) for batch, _ in self._answers]

    async def turn(self, *, failing: Collection[object] = ()) -> None:
        """Commit the oldest batch, and let everybody go on who was answered.

        The members whose numbers are `failing` have failed alone; the others publish theirs.
        """
        batch, answer = self._answers.pop(0)
        numbers = [write.arguments[0] for write in batch]
        results = [Failed(ValueError(n)) if n in failing else n for n in numbers]
        published = [number for number in numbers if number not in failing]
        answer.set_result(Committed(results, published, waited_s=self.waited_s))
        await settled()

    async def refuse(self) -> None:
        """Keep nothing of the oldest batch."""
        _, answer = self._answers.pop(0)
        answer.set_exception(StoreUnavailable(subject="store", what="is full", fix="free space"))
        await settled()
