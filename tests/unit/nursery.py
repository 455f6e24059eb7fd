"""Children for the supervision's tests: obedient ones, crashing ones, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from supervisor.clock import VirtualClock
from supervisor.supervision import (
    Child,
    Crash,
    Intensity,
    OnGivingUp,
    Supervision,
)

CHANCE = random.Random(1)  # noqa: S311 - jitter
INTENSITY = Intensity(restarts_max=3, window_s=3600.0, delay_s=0.01, delay_max_s=300.0)


class Broken(Exception):
    pass


@dataclass
class Nursery:
    """A supervision whose time is virtual, and what it has recorded."""

    clock: VirtualClock
    crashes: list[Crash] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Supervision]:
        async def on_crash(crash: Crash) -> None:
            self.crashes.append(crash)

        async with anyio.create_task_group() as tasks:
            yield Supervision(tasks, clock=self.clock, chance=CHANCE, on_crash=on_crash)
            tasks.cancel_scope.cancel()

    def obedient(self, name: str, *, lasts_s: float = 0.0, grace_s: float = 10.0) -> Child:
        """A child that ends `lasts_s` after it was asked to."""
        asked = anyio.Event()

        async def run() -> None:
            try:
                await asked.wait()
                await anyio.sleep(lasts_s)
                self.ends.append(name)
            except asyncio.CancelledError:
                self.ends.append(f"{name} cancelled")
                raise

        return Child(name=name, run=run, stop=asked.set, grace_s=grace_s, intensity=INTENSITY)


def crashing(
    *, at: list[float], clock: VirtualClock, every_s: float = 0.0
) -> Callable[[], Awaitable[None]]:
    """A child's work that notes when it starts, and crashes."""

    async def run() -> None:
        at.append(clock.monotonic())
        await anyio.sleep(every_s)
        raise Broken(str(len(at)))

    return run


def child(
    run: Callable[[], Awaitable[None]],
    *,
    name: str = "c",
    intensity: Intensity = INTENSITY,
    on_giving_up: OnGivingUp = OnGivingUp.LEAVE,
    stop: Callable[[], None] = lambda: None,
) -> Child:
    return Child(name=name, run=run, stop=stop, intensity=intensity, on_giving_up=on_giving_up)
