"""A config lived through by its own workers in virtual time, on a store that is kept."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import datetime

import msgspec

from supervisor.assembly import build_models, build_plan
from supervisor.clock import to_us
from supervisor.config import Loaded
from supervisor.errors import UsageError
from supervisor.events import kinds
from supervisor.events.log import Recorded
from supervisor.simulation.life import DaemonLife
from supervisor.simulation.store import Disk, LifeStore
from supervisor.simulation.virtual_time import SimulatedClock, VirtualLoop
from supervisor.storage.open import open_database
from supervisor.windows import DAY_S
from supervisor.worker.models import Models
from supervisor.worker.plan import WorkerPlan

_ENOUGH_WHY = "that many ticks were wanted"
_OVER_WHY = "the time is over"


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """What was lived through: ticks that ended, until when by the virtual clock, and why no more.

    `wall_s` is what it took.
    """

    ticks: int
    ended_at: datetime
    why: str
    wall_s: float


def rehearse(
    loaded: Loaded, *, start: datetime, span_s: float, ticks_max: int, seed: int = 1
) -> Rehearsed:
    """Run the config's workers from `start` on, until the span is over or they have ticked enough.

    The loop, the gates, the ledger, the policy and the store's SQL are the daemon's; waiting takes
    no time, and commits are not synced one by one. The store in the state directory can be read
    by every command afterwards; it must not exist before. Workers and providers are the config's
    own: what they do outside, they do.

    Raises:
        UsageError: the store is not SQLite in the state directory, or is there already.
        ConfigError: a worker or a provider can't be had.
    """
    began_s = time.perf_counter()
    plans = [build_plan(loaded, name) for name in loaded.config.worker]
    models = build_models(loaded)
    rehearsal = _Rehearsal(loaded, models, start, seed)
    try:
        why = rehearsal.run(plans, span_s=span_s, ticks_max=ticks_max)
    finally:
        rehearsal.close()
        asyncio.run(models.close())
    return Rehearsed(
        ticks=rehearsal.ticks,
        ended_at=rehearsal.clock.now(),
        why=why,
        wall_s=round(time.perf_counter() - began_s, 3),
    )


class _Rehearsal:
    """One life, and what is counted of it."""

    def __init__(self, loaded: Loaded, models: Models, start: datetime, seed: int) -> None:
        self.clock = SimulatedClock(start)
        self.ticks = 0
        self._ticks_max = 0
        self._failure: BaseException | None = None
        self._disk = _open_disk(loaded, start, self)
        chance = random.Random(seed)  # noqa: S311 - a seed's
        self._life = DaemonLife(
            loaded,
            store=LifeStore(self._disk, _Kind(), chance),
            clock=self.clock,
            chance=chance,
            models=models,
            boot_id="boot-rehearsal",
        )
        self._life.kernel.state_dir = loaded.state_dir
        # Nobody sets this clock, and no other life leaves anything behind: a day is often enough.
        self._life.kernel.wait_slice_s = self._life.recover_every_s = DAY_S

    def run(self, plans: Sequence[WorkerPlan], *, span_s: float, ticks_max: int) -> str:
        """Live until the end and return why it came."""
        self._ticks_max = ticks_max
        loop = VirtualLoop(self.clock)
        loop.on_error = self._on_loop_error
        loop.call_later(span_s, self._life.request_stop, _OVER_WHY)
        why = loop.live(self._life.run(plans))
        if self._failure is not None:
            raise self._failure
        assert why is not None, "nothing cuts a rehearsal off"
        return why

    def observe(self, published: Sequence[object]) -> None:
        """Count the ticks of a commit, and end the life where they are enough."""
        self.ticks += sum(
            isinstance(fact, Recorded) and isinstance(fact.event, kinds.CycleCompleted)
            for fact in published
        )
        if self.ticks >= self._ticks_max:
            self._life.request_stop(_ENOUGH_WHY)

    def fail(self, error: BaseException) -> None:
        """Keep the first error that nobody should have raised, and end the life."""
        self._failure = self._failure or error
        self._life.request_stop("it failed", in_a_hurry=True)

    def _on_loop_error(self, error: BaseException | None, message: str) -> None:
        self.fail(error or RuntimeError(message))

    def close(self) -> None:
        self._disk.close()


class _Kind:
    """The fate of a store that nothing befalls."""

    def locked_for(self) -> str:
        return ""

    def dies_before_commit(self) -> bool:
        return False

    def dies_after_commit(self) -> bool:
        return False


def _open_disk(loaded: Loaded, start: datetime, rehearsal: _Rehearsal) -> Disk:
    """Make the store as the daemon does, and open it for the virtual clock."""
    path = loaded.state_dir / "supervisor.db"
    if loaded.config.supervisor.database != "sqlite":
        raise UsageError(
            subject=f"{loaded.path}: supervisor.database",
            what="is not what a rehearsal can use",
            fix='write database = "sqlite"',
        )
    if path.exists():
        fix = "name another folder: virtual and real time don't go into one record"
        raise UsageError(subject=f"store {path}", what="is there already", fix=fix)
    loaded.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def make() -> None:
        store = await open_database("sqlite", state_dir=loaded.state_dir, now_us=to_us(start))
        await store.close()

    asyncio.run(make())
    return Disk(rehearsal.observe, rehearsal.fail, path)
