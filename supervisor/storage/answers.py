"""How a store's thread tells the event loop what it has done."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

R = TypeVar("R")

#: At the latest so long after it was there is an answer given, whatever the thread waits for: the
#: lock of another process, for one.
_LOOK_S = 0.02


class Answers:
    """Answers of a thread to the event loop, in the order of the questions.

    Whoever is answered runs at once and takes the interpreter, for which the thread would then
    have to wait. So a thread that has more to do gives its answers while it waits for a disk or a
    server anyway: what the answered do, and what it waits for, then take the same time.
    """

    def __init__(self) -> None:
        self._given: deque[Callable[[], None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._helper: threading.Thread | None = None
        self._open = 0
        self._is_looking = False

    def ask(self, function: Callable[[], R]) -> tuple[asyncio.Future[R], Callable[[], None]]:
        """Return the future of what `function` returns or raises, and what to run on the thread.

        Called in the event loop. It is to be run also when the future is cancelled.
        """
        self._loop = loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._open += 1
        if not self._is_looking:
            self._is_looking = True
            loop.call_later(_LOOK_S, self._look)

        def run() -> None:
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - a thread's border: the caller gets it
                self._given.append(functools.partial(fail, future, error))
            else:
                self._given.append(functools.partial(succeed, future, result))

        return future, run

    def give(self) -> None:
        """Give every answer that there is."""
        if self._given and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                return  # the loop has been closed: nobody waits any more

    def give_meanwhile(self) -> None:
        """Give every answer that there is as soon as the thread that calls this waits."""
        # Waking the loop gives up the interpreter, putting into this queue does not: another
        # thread wakes the loop, when it gets the interpreter.
        if not self._given:
            return
        if self._helper is None:
            self._helper = threading.Thread(target=self._help, name="store answers", daemon=True)
            self._helper.start()
        self._wanted.put(True)

    def close(self) -> None:
        """End the thread that gives answers meanwhile."""
        self._wanted.put(False)

    def _help(self) -> None:
        while self._wanted.get():
            self.give()

    def _deliver(self) -> None:
        while self._given:
            self._open -= 1
            self._given.popleft()()

    def _look(self) -> None:
        self._deliver()
        self._is_looking = self._open > 0
        if self._is_looking and self._loop is not None:
            self._loop.call_later(_LOOK_S, self._look)


def succeed(future: asyncio.Future[R], result: R) -> None:
    """Give the result, unless nobody waits any more."""
    if not future.done():
        future.set_result(result)


def fail(future: asyncio.Future[R], error: BaseException) -> None:
    """Give the error, unless nobody waits any more."""
    if future.done():
        return
    if isinstance(error, StopIteration):
        # No future takes one: it would be the end of whichever coroutine awaits it.
        told = RuntimeError(f"a function of a transaction raised {error!r}")
        told.__cause__ = error
        error = told
    future.set_exception(error)
