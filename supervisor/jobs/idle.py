"""Workers that wait for a job of a queue, so that whoever enqueues one can tell them before."""

from __future__ import annotations

from typing import Protocol


class Waiter(Protocol):
    """A worker that has looked for jobs and found none."""

    def expect(self) -> bool:
        """Claim with the commit that is about to bring a job; False where it can't any more."""
        ...


class IdleWorkers:
    """Who waits for a job, by its queue. Written only in the event loop.

    A worker that is told when a job is on its way claims it in the commit that brings it: it
    begins one commit earlier than one that is told of that commit.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Waiter, None]] = {}

    def add(self, queue: str, waiter: Waiter) -> None:
        """Note that a worker waits."""
        self._waiting.setdefault(queue, {})[waiter] = None

    def discard(self, queue: str, waiter: Waiter) -> None:
        """Note that it does so no more."""
        self._waiting.get(queue, {}).pop(waiter, None)

    def expect(self, queue: str) -> None:
        """Let one worker claim with the commit that comes next: a job of the queue is in it."""
        waiting = self._waiting.get(queue, {})
        while waiting:
            waiter = next(iter(waiting))
            del waiting[waiter]
            if waiter.expect():
                return
