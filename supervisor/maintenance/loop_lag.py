"""Timing the turns of the event loop: what is ready waits as long as the turn before it takes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from supervisor.clock import Clock

_REMEMBERED_S = 60.0
_SPAN_S = 1.0
#: A shorter turn is no delay that anybody would look for.
_NOISE_S = 0.001


class LoopLag:
    """Knows since when the loop is at its present turn, and the longest turns of the last minute.

    A turn is everything that the loop does between two waits. It is timed where the loop waits, in
    its selector, so that it is exact and wakes nobody. Written only by the loop's thread;
    `turn_began_s` may be read by others.
    """

    def __init__(
        self, *, clock: Clock, warn_s: float, on_block: Callable[[float, float], None]
    ) -> None:
        """`on_block` is told, in the loop's thread, when a turn of `warn_s` began and took."""
        self._clock = clock
        self._warn_s = warn_s
        self._on_block = on_block
        #: By the monotonic clock; None while the loop waits.
        self.turn_began_s: float | None = None
        #: The longest turn of each second that had one, with its end: at most one a second.
        self._longest: deque[tuple[float, float]] = deque()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Time the turns of a loop that runs, from now on."""
        selector = loop._selector  # type: ignore[attr-defined] # noqa: SLF001 - no other way in
        wait = selector.select
        monotonic = self._clock.monotonic

        def select(timeout: float | None = None) -> object:
            if self._end_turn(loop):
                timeout = 0  # it may have made something ready
            ready = wait(timeout)
            self.turn_began_s = monotonic()
            return ready

        selector.select = select
        self.turn_began_s = monotonic()

    def _end_turn(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Note how long the turn took, and return whether it was told to anybody."""
        began_s, self.turn_began_s = self.turn_began_s, None
        if began_s is None:
            return False
        now_s = self._clock.monotonic()
        lag_s = now_s - began_s
        if lag_s < _NOISE_S:
            return False
        self._remember(now_s, lag_s)
        if lag_s < self._warn_s:
            return False
        try:
            self._on_block(began_s, lag_s)
        except Exception as error:  # noqa: BLE001 - a listener's border: the loop goes on
            told = {"message": "a listener to the loop's blocks failed", "exception": error}
            loop.call_exception_handler(told)
        return True

    def _remember(self, now_s: float, lag_s: float) -> None:
        if self._longest and now_s - self._longest[-1][0] < _SPAN_S:
            ended_s, longest_s = self._longest[-1]
            self._longest[-1] = (ended_s, max(longest_s, lag_s))
            return
        self._longest.append((now_s, lag_s))
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        while self._longest and self._longest[0][0] < now_s - _REMEMBERED_S:
            self._longest.popleft()

    def worst_s(self) -> float:
        """Return the longest turn of the last minute, in seconds; 0 where all were short."""
        self._forget(self._clock.monotonic())
        return max((lag_s for _, lag_s in self._longest), default=0.0)
