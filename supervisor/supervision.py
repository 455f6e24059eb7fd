"""Children as data: restarted with backoff, given up on with a limit, stopped in reverse."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from supervisor.backoff import delay_s
from supervisor.clock import Clock

#: The first restarts come quickly and the later ones slowly: 0.01, 0.04, 0.16 ... s.
_RESTART_FACTOR = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """How often a child may crash: more than `restarts_max` within `window_s` is too often."""

    restarts_max: int
    window_s: float
    delay_s: float
    delay_max_s: float


class OnGivingUp(StrEnum):
    """What a child's last crash means for the others."""

    LEAVE = "leave"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A long-lived coroutine.

    `run` returns when `stop` has asked it to, or when its work is over; what it raises is a
    crash. `stop` must not block; after it the child has `grace_s` seconds before it is cancelled,
    and `abandon_s` more before it is left behind.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    intensity: Intensity
    stop: Callable[[], None] = lambda: None
    grace_s: float = 0.0
    abandon_s: float = 10.0
    on_giving_up: OnGivingUp = OnGivingUp.ESCALATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One crash; `restart_in_s` is None where the child is given up on."""

    child: str
    error: BaseException
    crashes: int
    restart_in_s: float | None


class ChildGivenUp(Exception):
    """A child that the others can't do without crashed too often."""


class Supervision:
    """Starts children in order and stops them in reverse; one task each.

    `on_crash` is awaited in the child's task before it starts again, so that no crash goes
    unrecorded.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        *,
        clock: Clock,
        chance: random.Random,
        on_crash: Callable[[Crash], Awaitable[None]],
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._chance = chance
        self._on_crash = on_crash
        self._running: list[_Running] = []
        self._stopped: list[_Running] = []
        self._is_hurried = False

    def start(self, child: Child) -> None:
        """Start a child after those that were started before."""
        running = _Running(child)
        self._running.append(running)
        self._tasks.start_soon(self._live, running, name=child.name)

    async def stop(self) -> None:
        """Stop every child, the last one first, each within its grace.

        Children that another task has asked to stop are waited for before all others.
        """
        await self._end_together([running for running in self._stopped if running.is_waited_for])
        while self._running:
            running = self._running.pop()
            self._stopped.append(running)
            running.ask_to_stop()
            await running.end_within(running.child.grace_s)

    async def stop_together(self, names: Collection[str]) -> None:
        """Stop the named children at the same time, each within its grace or until `hurry`."""
        chosen = [running for running in self._running if running.child.name in names]
        self._running = [running for running in self._running if running not in chosen]
        self._stopped.extend(chosen)
        for running in chosen:
            running.ask_to_stop()
        await self._end_together(chosen)

    async def _end_together(self, chosen: Collection[_Running]) -> None:
        async with anyio.create_task_group() as tasks:
            for running in chosen:
                grace_s = 0.0 if self._is_hurried else running.child.grace_s
                tasks.start_soon(running.end_within, grace_s)

    def abandoned(self) -> list[str]:
        """Return the children that were cancelled and have not ended: they swallow it."""
        return [running.child.name for running in self._stopped if running.is_alive]

    def hurry(self) -> None:
        """Leave no grace to children that were asked to stop, nor to those that will together."""
        self._is_hurried = True
        for running in self._stopped:
            running.scope.cancel()

    async def _live(self, running: _Running) -> None:
        try:
            with running.scope:
                await self._keep_alive(running)
        finally:
            running.ended.set()

    async def _keep_alive(self, running: _Running) -> None:
        child = running.child
        crashes: deque[float] = deque()
        while True:
            try:
                return await child.run()
            except BaseException as error:  # noqa: BLE001 - a child's border: recorded by on_crash
                # A cancellation of ours raises again here. One that the child has caught from
                # elsewhere, or a SystemExit, is its crash and nobody else's.
                await anyio.lowlevel.checkpoint_if_cancelled()
                restart_in_s = self._after_crash(child.intensity, crashes)
                crash = Crash(
                    child=child.name,
                    error=error,
                    crashes=len(crashes),
                    restart_in_s=restart_in_s,
                )
            await self._on_crash(crash)
            if running.is_stopping:
                return None
            if crash.restart_in_s is None:
                if child.on_giving_up is OnGivingUp.LEAVE:
                    return None
                raise ChildGivenUp(child.name) from crash.error
            with anyio.move_on_after(crash.restart_in_s):
                await running.wake.wait()
                return None

    def _after_crash(self, intensity: Intensity, crashes: deque[float]) -> float | None:
        now_s = self._clock.monotonic()
        crashes.append(now_s)
        while crashes[0] < now_s - intensity.window_s:
            crashes.popleft()
        if len(crashes) > intensity.restarts_max:
            return None
        return delay_s(
            len(crashes),
            first_s=intensity.delay_s,
            max_s=intensity.delay_max_s,
            factor=_RESTART_FACTOR,
            chance=self._chance,
        )


class _Running:
    """A child's task; written by `Supervision` only."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.scope = anyio.CancelScope()
        self.wake = anyio.Event()
        self.ended = anyio.Event()
        self.is_stopping = False
        self.is_abandoned = False

    @property
    def is_alive(self) -> bool:
        return not self.ended.is_set()

    @property
    def is_waited_for(self) -> bool:
        return self.is_alive and not self.is_abandoned

    def ask_to_stop(self) -> None:
        self.is_stopping = True
        self.child.stop()
        self.wake.set()

    async def end_within(self, grace_s: float) -> None:
        with anyio.move_on_after(grace_s):
            await self.ended.wait()
        self.scope.cancel()
        with anyio.move_on_after(self.child.abandon_s, shield=True):
            await self.ended.wait()
        self.is_abandoned = self.is_alive
