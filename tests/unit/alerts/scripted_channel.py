"""A channel that is down when a test says so, and notes what arrives."""

from __future__ import annotations

from supervisor.alerts.channels import NotDelivered
from supervisor.alerts.record import Message
from supervisor.clock import Clock


class ScriptedChannel:
    """Takes nothing before `up_at_s` of the clock; `tries` are the moments of each try."""

    def __init__(self, clock: Clock, *, up_at_s: float = 0.0) -> None:
        self.up_at_s = up_at_s
        self.tries: list[float] = []
        self.arrived: list[Message] = []
        self._clock = clock

    @property
    def told(self) -> list[str]:
        return [f"{message.kind} {message.title}" for message in self.arrived]

    async def send(self, message: Message) -> None:
        self.tries.append(self._clock.monotonic())
        if self._clock.monotonic() < self.up_at_s:
            raise NotDelivered("it is down")
        self.arrived.append(message)

    async def close(self) -> None:
        """Nothing to close."""
