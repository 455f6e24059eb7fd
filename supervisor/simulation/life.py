"""One life of a daemon: the product's own parts, joined as the daemon joins them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from supervisor.assembly import build_intensity, build_plan, build_policy
from supervisor.config import Loaded, models_of
from supervisor.errors import StoreUnavailable
from supervisor.events import kinds
from supervisor.events.log import Origin, Recorded
from supervisor.governance.burning import PARTS
from supervisor.governance.in_flight import Flight, InFlight
from supervisor.lifecycle import Life, begin_life, end_life, record_reload
from supervisor.maintenance.burn_watch import BurnWatch
from supervisor.maintenance.kill_watch import KillWatch
from supervisor.maintenance.peers import Peers
from supervisor.maintenance.recovery import Findings, recover
from supervisor.simulation.store import LifeStore
from supervisor.simulation.virtual_time import SimulatedClock, create_task_group
from supervisor.supervision import Child, Supervision
from supervisor.worker.models import Models
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.workforce import Workforce

#: Ten times the daemon's, as it would look 43,200 times a month and find nothing.
_RECOVER_EVERY_S = 600.0
_LOOK_AGAIN_S = 0.5
_HOST = "simulated"


class _FlightsInOrder(set[Flight]):
    """The flights in the order of their start: a set's own order is another one in every run."""

    def __init__(self) -> None:
        super().__init__()
        self._in_order: dict[object, Flight] = {}

    def add(self, flight: Flight) -> None:
        super().add(flight)
        self._in_order[flight] = flight

    def discard(self, flight: object) -> None:
        super().discard(flight)
        self._in_order.pop(flight, None)

    def __iter__(self) -> Iterator[Flight]:
        return iter(list(self._in_order.values()))


class _OrderedInFlight(InFlight):
    def __init__(self) -> None:
        super().__init__()
        self._flights = _FlightsInOrder()


class DaemonLife:
    """From one start to one end. Written by its own tasks alone."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        store: LifeStore,
        clock: SimulatedClock,
        chance: random.Random,
        models: Models,
        boot_id: str,
    ) -> None:
        self._loaded = loaded
        self._life = Life(boot_id=boot_id, pid=1, host=_HOST, version="simulated")
        # Every process before this one is gone, as the lock lets in one at a time.
        self._peers = Peers(host=_HOST, clock=clock, runs=lambda _: False)
        self._clock = clock
        self._chance = chance
        self._store = store
        self._stop_asked = anyio.Event()
        self._why = ""
        self._is_hurried = False
        self._tasks: TaskGroup | None = None
        self._supervision: Supervision | None = None
        self.recovered = Findings()
        self.recover_every_s = _RECOVER_EVERY_S
        self.kernel = Kernel(
            boot_id=boot_id,
            database=store,
            clock=clock,
            chance=chance,
            models=models,
            policy=build_policy(loaded),
            config_dir=loaded.folder,
            state_dir=Path("simulated"),
            log=_silent_log(),
            request_stop=self.request_stop,
            in_flight=_OrderedInFlight(),
        )
        section = loaded.config.supervisor
        self._workforce = Workforce(
            self.kernel,
            intensity=build_intensity(loaded.config),
            grace_s=section.grace_s,
            kill_latency_s=section.kill_latency_s,
            timezone=loaded.timezone,
        )
        policy = self.kernel.policy
        self._burns = BurnWatch(
            store, clock, self.kernel.log, lambda: (policy.budgets, policy.breakers)
        )
        self._has_spent = anyio.Event()
        store.listen(self._notice_spending)
        self._kill_watch = KillWatch(
            database=store,
            in_flight=self.kernel.in_flight,
            stop_file=Path("simulated") / "STOP",
            log=self.kernel.log,
            on_stop=self.request_stop,
            on_change=self._workforce.wake_all,
        )

    @property
    def is_ready(self) -> bool:
        return self._tasks is not None

    def request_stop(self, why: str, *, in_a_hurry: bool = False) -> None:
        """Ask the life to end, as `Daemon.request_stop` does."""
        self._why = self._why or why
        self._stop_asked.set()
        self._is_hurried = self._is_hurried or in_a_hurry
        if in_a_hurry and self._supervision is not None:
            self._supervision.hurry()

    async def run(self, plans: Sequence[WorkerPlan]) -> str:
        """Live until asked to stop, and return why.

        Raises:
            StoreUnavailable: the store failed at the start, or a group of just that.
        """
        names, budgets = [plan.name for plan in plans], self.kernel.policy.budgets
        await self._store.write(begin_life, self._life, names, budgets, self._origin())
        async with create_task_group() as tasks:
            supervision = Supervision(
                tasks, clock=self._clock, chance=self._chance, on_crash=self._workforce.on_crash
            )
            self._supervision = supervision
            await self._recover()
            for plan in plans:
                self._workforce.start(supervision, plan)
            intensity = build_intensity(self._loaded.config)
            supervision.start(
                Child(name="recovery", run=self._recover_on_schedule, intensity=intensity)
            )
            supervision.start(Child(name="burns", run=self._watch_spending, intensity=intensity))
            self._tasks = tasks
            await self._stop_asked.wait()
            self.kernel.is_stopping = True
            if self._is_hurried:
                supervision.hurry()
            await self._workforce.stop(supervision)
            await supervision.stop()
            self._tasks = None
            tasks.cancel_scope.cancel()
        await self._end()
        return self._why

    async def _recover_on_schedule(self) -> None:
        while True:
            await anyio.sleep(self.recover_every_s)
            try:
                await self._recover()
            except StoreUnavailable:
                continue

    async def _watch_spending(self) -> None:
        """Look as often as the daemon does, but not where nobody has spent since the last look."""
        while True:
            # Before the look: what is spent while it reads is for the next one.
            self._has_spent = anyio.Event()
            await self._burns.once()
            await anyio.sleep(self.kernel.policy.breakers.rate_window_s / PARTS)
            await self._has_spent.wait()

    def _notice_spending(self, facts: Sequence[object]) -> None:
        ends = (kinds.HoldSettled, kinds.HoldForfeited)
        if any(isinstance(one, Recorded) and isinstance(one.event, ends) for one in facts):
            self._has_spent.set()

    async def _recover(self) -> None:
        self.recovered += await recover(
            self._store,
            boot_id=self._life.boot_id,
            clock=self._clock,
            timezone=self._loaded.timezone,
            workers=set(self._loaded.config.worker),
            peers=self._peers,
        )

    async def _end(self) -> None:
        origin = self._origin()
        try:
            await self._store.write(
                end_life, self._life, self._loaded.timezone, origin, why=self._why
            )
        except StoreUnavailable:
            # Recovery closes at the next start what could not be closed now.
            return

    def notice(self) -> None:
        """Let the kill watch see that another process has committed."""
        if self._tasks is not None:
            self._tasks.start_soon(self._notice)

    async def _notice(self) -> None:
        while True:
            try:
                await self._kill_watch.obey()
            except StoreUnavailable:
                await anyio.sleep(_LOOK_AGAIN_S)
                continue
            self._kill_watch.announce_change()
            return

    def reload(self, plans: Sequence[WorkerPlan]) -> None:
        """Take up the config once more, as on SIGHUP."""
        if self._tasks is not None and not self._stop_asked.is_set():
            self._tasks.start_soon(self._reload, plans)

    async def _reload(self, plans: Sequence[WorkerPlan]) -> None:
        names, budgets = [plan.name for plan in plans], self.kernel.policy.budgets
        try:
            await self._store.write(record_reload, [], names, budgets, self._origin())
        except StoreUnavailable:
            return
        if self._supervision is not None and not self._stop_asked.is_set():
            await self._workforce.replace(self._supervision, {plan.name: plan for plan in plans})

    def _origin(self) -> Origin:
        return Origin(at=self._clock.now(), actor="daemon")


def scripted_plan(loaded: Loaded, name: str) -> WorkerPlan:
    """Return the worker's plan as the daemon makes it, without importing the worker's code.

    A class of models is simulated by the first of them.
    """
    config = loaded.config
    model = next(iter(models_of(config.worker[name].model or "", config)), None)
    stand_in = msgspec.structs.replace(
        config.worker[name], run="supervisor.simulation.life:stand_in", model=model
    )
    config = msgspec.structs.replace(config, worker={name: stand_in})
    return build_plan(msgspec.structs.replace(loaded, config=config), name)


async def stand_in(_: object) -> None:
    """Stand where a worker's function is until the world gives it a script."""


def _silent_log() -> structlog.typing.FilteringBoundLogger:
    silent = structlog.make_filtering_bound_logger("critical")
    return structlog.wrap_logger(  # type: ignore[no-any-return] # structlog's own annotation
        structlog.PrintLogger(), processors=[], wrapper_class=silent, cache_logger_on_first_use=True
    )
