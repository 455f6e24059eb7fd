"""An event loop whose clock is a virtual one: waiting takes no time, and takes exactly as long."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

from supervisor.clock import VirtualClock

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Where nothing is ready, lets the time pass instead of waiting for it."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout if timeout is None else 0)
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._clock.monotonic()


def run_warped(clock: VirtualClock, main: Coroutine[object, object, T]) -> T:
    """Run `main` to its end on a loop that moves `clock` as it waits; no thread may take part."""
    with asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
        return runner.run(main)
