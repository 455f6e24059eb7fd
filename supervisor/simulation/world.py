"""One seed's month: daemons that live and die, and what befalls them, on one virtual timeline."""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import msgspec

from supervisor.assembly import build_models
from supervisor.config import Loaded
from supervisor.errors import StoreUnavailable
from supervisor.ledger.periods import Period, period_end
from supervisor.money import limit_micro_usd
from supervisor.simulation.checks import Violation, told
from supervisor.simulation.console import Operator
from supervisor.simulation.faults import DAY_S, Fault, FaultKind, draw_faults, draw_start
from supervisor.simulation.fortune import Fortune
from supervisor.simulation.invariants import Invariants
from supervisor.simulation.life import DaemonLife, scripted_plan
from supervisor.simulation.month_end import scorecard_of
from supervisor.simulation.provider import SimulatedModels
from supervisor.simulation.scorecard import Failure, Scorecard
from supervisor.simulation.scripted_worker import Script
from supervisor.simulation.store import Disk, LifeStore
from supervisor.simulation.strikes import Strikes
from supervisor.simulation.vendor import Vendor
from supervisor.simulation.virtual_time import SimulatedClock, Standstill, VirtualLoop
from supervisor.worker.plan import WorkerPlan

_SPEND_SHARE = 50
_AUDIT_PAUSE_SHARE = 3
#: How far into a call an aimed fault strikes, at most: most calls take longer.
_AIM_S = 2.0
_RESTART_S = (0.5, 5.0)
_STOPPED_ITSELF_S = (600.0, 21_600.0)
_AFTER_THE_END_LIVES_MAX = 50
_STOPS_WITHIN_S = 3_600.0
_GARBAGE_MAX = 50_000


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is simulated: which month, how long, and what goes wrong in it.

    With `only` some kinds of faults, no other strikes, and no single call or tick goes wrong.
    """

    seed: int
    days: float = 30.0
    has_faults: bool = True
    only: tuple[FaultKind, ...] = ()

    @property
    def has_mishaps(self) -> bool:
        """Whether single calls and ticks go wrong, whatever else does."""
        return self.has_faults and not self.only


def simulate(loaded: Loaded, settings: Settings) -> Scorecard:
    """Live through one month and return its scorecard, with the first invariant that broke."""
    began_s = time.perf_counter()
    thresholds = gc.get_threshold()
    # A tenth of the time would go into looking for garbage that is hardly there.
    gc.set_threshold(_GARBAGE_MAX, *thresholds[1:])
    try:
        world = World(loaded, settings)
        world.run()
        card = scorecard_of(world)
        world.close()
    finally:
        gc.set_threshold(*thresholds)
    return msgspec.structs.replace(card, wall_s=round(time.perf_counter() - began_s, 3))


class World:
    """Everything outside of the daemons, and the daemon of the moment if there is one."""

    def __init__(self, loaded: Loaded, settings: Settings) -> None:
        self.loaded = loaded
        self.settings = settings
        self.end_s = settings.days * DAY_S
        zones = [loaded.timezone, *_worker_zones(loaded)]
        start = draw_start(
            self.chance("start"),
            days=settings.days,
            timezones=zones,
            has_faults=settings.has_faults,
        )
        self.clock = SimulatedClock(start)
        self.rules = Invariants(loaded, self.clock)
        self.disk = Disk(self._observe, self._distrust)
        self.fortune = Fortune(
            self.clock, self.chance("fortune"), has_mishaps=settings.has_mishaps, die=self.die
        )
        self.operator = Operator(self.disk, self.clock, loaded.timezone)
        self.models = build_models(loaded)
        self.plans = [scripted_plan(loaded, name) for name in loaded.config.worker]
        self.life: DaemonLife | None = None
        self.loop: VirtualLoop | None = None
        self._store: LifeStore | None = None
        self._vendor: Vendor | None = None
        self._lives = itertools.count(1)
        self.failure: Failure | None = None
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._entries = itertools.count()
        self._restarts = self.chance("restarts")
        self._aimed: deque[Fault] = deque()
        self._strikes = Strikes(self)
        self._plan_month()

    def chance(self, name: str) -> random.Random:
        """Return a stream of chance of its own, so that no part changes another one's luck."""
        return random.Random(f"{self.settings.seed}/{name}")  # noqa: S311 - a seed's

    def _plan_month(self) -> None:
        settings = self.settings
        faults = draw_faults(
            self.chance("faults"),
            days=settings.days,
            midnight_s=_until_midnight_s(self.clock.start, self.loaded.timezone),
            has_faults=settings.has_faults,
            only=settings.only,
        )
        for fault in faults:
            self.at(fault.at_s, partial(self._strikes.strike, fault))
        for day in _audit_days(settings.days):
            self.at(day * DAY_S, self._audit)
        self.at(self.end_s, self._end_month)

    # --- the timeline

    def at(self, at_s: float, action: Callable[[], None]) -> None:
        """Do something at a moment of the monotonic clock, whether a daemon lives then or not."""
        heapq.heappush(self._agenda, (at_s, next(self._entries), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something that many seconds from now."""
        self.at(self.clock.monotonic() + seconds, action)
        if self.loop is not None:
            self.loop.call_later(seconds, self._do_what_is_due)

    def _do_what_is_due(self) -> None:
        while self._agenda and self._agenda[0][0] <= self.clock.monotonic() + 1e-6:
            _, _, action = heapq.heappop(self._agenda)
            self._guard(action)

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Violation as violation:
            self.fail(violation)

    def _end_month(self) -> None:
        self.fortune.clear()
        self.rules.disturb()
        if self.life is not None:
            self.life.request_stop("the month is over")
        if self.loop is not None:
            self.loop.call_later(_STOPS_WITHIN_S, self._has_not_stopped)

    def _has_not_stopped(self) -> None:
        self.fail(Violation("a daemon can be stopped", f"it still runs after {_STOPS_WITHIN_S} s"))

    @property
    def _is_over(self) -> bool:
        return self.clock.monotonic() >= self.end_s

    def run(self) -> None:
        """Let daemons live until the month is over and the last one has stopped by itself."""
        lives_after_the_end = 0
        while self.failure is None:
            lives_after_the_end += self._is_over
            has_stopped = self._live_once()
            if has_stopped and self._is_over:
                break
            if lives_after_the_end > _AFTER_THE_END_LIVES_MAX:
                self.fail(Violation("a daemon can be stopped", "it dies each time"))
            if self.failure is None:
                self._be_down()
        if self.failure is None:
            self._guard(lambda: self.rules.check_end(self.disk))

    def _live_once(self) -> bool:
        """Run one daemon and return whether it stopped by itself."""
        loop = self.loop = VirtualLoop(self.clock)
        loop.on_error = self._on_loop_error
        for at_s, _, _ in self._agenda:
            loop.call_at(max(at_s, self.clock.monotonic()), self._do_what_is_due)
        if self._is_over:
            loop.call_soon(self._end_month)
        try:
            return loop.live(self._live()) is not None
        except Standstill as standstill:
            self.fail(Violation("a daemon gets on", str(standstill)))
        except Exception as error:  # noqa: BLE001 - whatever a daemon dies of, it is looked at
            if not _is_of_the_store(error):
                self.fail(Violation("a daemon does not die by itself", told(error)))
            # As in the product: exit 75, and the service manager starts it again.
            self.fortune.downtime_s = self._restarts.uniform(*_RESTART_S)
        finally:
            self.life = self._store = self._vendor = self.loop = None
        return False

    async def _live(self) -> str:
        number = next(self._lives)
        boot_id = f"boot-{number}"
        chance = self.chance(f"life-{number}")
        store = self._store = LifeStore(self.disk, self.fortune, chance)
        vendor = self._vendor = Vendor(
            money=self.rules.money,
            work=self.rules.work,
            fortune=self.fortune,
            chance=chance,
            fail=self.fail,
            on_call=self._on_call,
        )
        self.rules.work.begin_life(boot_id)
        life = self.life = DaemonLife(
            self.loaded,
            store=store,
            clock=self.clock,
            chance=chance,
            models=SimulatedModels(self.models, vendor),
            boot_id=boot_id,
        )
        if self._is_over:
            life.request_stop("the month is over")
        self.fortune.downtime_s = self._restarts.uniform(*_STOPPED_ITSELF_S)
        return await life.run(self.scripted_plans(vendor))

    def scripted_plans(self, vendor: Vendor | None = None) -> list[WorkerPlan]:
        """Return every worker's plan, its function a script for this life."""
        vendor = vendor or self._vendor
        assert vendor is not None, "only a life has plans"
        return [self._scripted(plan, vendor) for plan in self.plans]

    def _scripted(self, plan: WorkerPlan, vendor: Vendor) -> WorkerPlan:
        config = self.loaded.config
        provider = config.providers.get(plan.model.partition("/")[0])
        session_cap = limit_micro_usd(config.session.max_cost_usd)
        script = Script(
            vendor=vendor,
            seed=str(self.settings.seed),
            has_model=bool(plan.model),
            output_max=provider.max_tokens if provider else 0,
            spend_max_micro_usd=session_cap // _SPEND_SHARE,
            has_mishaps=self.settings.has_mishaps,
        )
        return replace(plan, function=script.function())

    def _be_down(self) -> None:
        """Let the time until the next start pass, and do what is due in it."""
        start_s = self.clock.monotonic() + self.fortune.downtime_s
        while self._agenda and self._agenda[0][0] <= start_s:
            self._pass(self._agenda[0][0] - self.clock.monotonic())
            self._do_what_is_due()
        self._pass(start_s - self.clock.monotonic())

    def _pass(self, seconds: float) -> None:
        if seconds > 0:
            self.clock.advance(seconds)

    # --- what befalls

    def aim(self, fault: Fault) -> None:
        """Let a fault happen while the next paid call is under way."""
        self._aimed.append(fault)

    def _on_call(self, worker: str) -> None:
        if self._aimed:
            fault = self._aimed.popleft()
            delay_s = self._restarts.uniform(0.0, _AIM_S)
            self.after(delay_s, partial(self._strikes.strike_now, fault, worker))

    def die(self) -> None:
        """End the present life as kill -9 does."""
        for part in (self._store, self._vendor, self.loop):
            if part is not None:
                part.cut_off()
        self.rules.excuse_ends()

    def fail(self, violation: Violation) -> None:
        """Keep the first violation and end the simulation."""
        if self.failure is None:
            day = round(self.clock.monotonic() / DAY_S, 6)
            at = self.clock.now().isoformat()
            rule, detail = violation.rule, violation.detail
            self.failure = Failure(rule=rule, detail=detail, at=at, day=day)
        self.die()

    def _distrust(self, error: BaseException) -> None:
        self.fail(Violation("no transaction fails by its own doing", told(error)))

    def _on_loop_error(self, error: BaseException | None, message: str) -> None:
        if not isinstance(error, StoreUnavailable):
            self.fail(Violation("nothing fails unseen", f"{message}: {told(error)}"))

    # --- the rules

    def _observe(self, published: Sequence[object]) -> None:
        try:
            self.rules.follow(published, self.disk)
        except Violation as violation:
            self.fail(violation)

    def _audit(self) -> None:
        self.rules.audit(self.disk)

    def close(self) -> None:
        """Give back the store's memory, and the config's own providers, which were never asked."""
        self.disk.close()
        asyncio.run(self.models.close())


def _audit_days(days: float) -> Iterator[int]:
    """Yield the days on which the whole record is proved, which costs more from day to day.

    Growing pauses: the first days are where most is new, and an audit reads all from the start.
    """
    day = 1
    while day < days:
        yield day
        day += 1 + day // _AUDIT_PAUSE_SHARE


def _until_midnight_s(start: datetime, timezone: ZoneInfo) -> float:
    end = period_end(Period.DAY, start, timezone=timezone)
    assert end is not None, "every day ends"
    return (end - start).total_seconds()


def _worker_zones(loaded: Loaded) -> list[ZoneInfo]:
    names = (worker.timezone for worker in loaded.config.worker.values())
    return [ZoneInfo(name) for name in names if name]


def _is_of_the_store(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_of_the_store, error.exceptions))
    return isinstance(error, StoreUnavailable)
