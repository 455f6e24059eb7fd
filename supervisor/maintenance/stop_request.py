"""Whether the daemon shall end, and why."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from structlog.typing import FilteringBoundLogger


class StopRequest:
    """The first reason to end counts; a request to stop beats one to restart, whichever is first.

    Written by whoever asks, in the loop's thread.
    """

    def __init__(self, log: FilteringBoundLogger, *, on_hurry: Callable[[], None]) -> None:
        """`on_hurry` is called each time that the ticks in flight shall be cancelled at once."""
        self._log = log
        self._on_hurry = on_hurry
        self.asked = anyio.Event()
        self.hurried = anyio.Event()
        self.why = ""
        self.is_for_restart = False

    def ask(self, why: str, *, in_a_hurry: bool = False) -> None:
        """Ask for the end; `in_a_hurry` leaves the ticks in flight no grace."""
        self.is_for_restart = False
        self._note(why, in_a_hurry=in_a_hurry)
        if in_a_hurry:
            self.hurried.set()
            self._on_hurry()

    def ask_for_restart(self, why: str) -> None:
        """Ask for the end, and the service manager for a new start."""
        if not self.asked.is_set():
            self.is_for_restart = True
            self._note(why, in_a_hurry=False)

    def _note(self, why: str, *, in_a_hurry: bool) -> None:
        if not self.asked.is_set():
            self.why = why
            self._log.warning("stopping", why=why, in_a_hurry=in_a_hurry)
            self.asked.set()
