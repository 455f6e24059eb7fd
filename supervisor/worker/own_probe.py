"""The call of a tick that probes a breaker, for which the tick's other calls wait."""

from __future__ import annotations

import anyio


class OwnProbe:
    """At most one probe of one tick. Written only by that tick's tasks."""

    def __init__(self) -> None:
        self._hold = ""
        self._task = 0
        self._over = anyio.Event()

    def begin(self, hold: str) -> None:
        """Note that this task's call is the probe."""
        self._hold = hold
        self._task = anyio.get_current_task().id
        self._over = anyio.Event()

    def end(self, hold: str) -> None:
        """Let those go on that wait for the probe, if the hold that ends is its."""
        if hold == self._hold:
            self._hold = ""
            self._over.set()

    @property
    def inside(self) -> str:
        """The probe's hold where this task is the probe's own: what it calls is a part of it."""
        is_own = bool(self._hold) and anyio.get_current_task().id == self._task
        return self._hold if is_own else ""

    async def wait(self, hold: str) -> None:
        """Wait until the probe is over; for one that is unknown here, not at all."""
        if hold == self._hold:
            await self._over.wait()
