"""Whose word a command is."""

from __future__ import annotations

from typing import Protocol

from supervisor.clock import SystemClock
from supervisor.config import person
from supervisor.events.log import Origin
from supervisor.ids import RandomIds


class Signed(Protocol):
    """The options of a command that changes something: who gives it, and its id."""

    @property
    def actor(self) -> str | None: ...

    @property
    def command_id(self) -> str | None: ...


def origin_of(options: Signed) -> Origin:
    """Return the origin of what a person asks for now; without a name it is the user's word."""
    return Origin(
        at=SystemClock().now(),
        actor=options.actor or person(),
        command_id=options.command_id or RandomIds().new("cmd"),
    )
