"""Holding the drills that the config schedules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import anyio
from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock, from_us
from supervisor.config import Loaded
from supervisor.errors import SupervisorError
from supervisor.governance.drills import Drill, Verdict, last_end
from supervisor.storage.database import Database
from supervisor.windows import next_occurrence, span_of

#: Compared with the wall clock that often, as a worker's wait is.
_SLICE_S = 30.0
_SLICE_MIN_S = 0.1
#: A drill that was never held is held soon, but not in the middle of a start.
_FIRST_AFTER = timedelta(seconds=60)


@dataclass(slots=True, kw_only=True)
class DrillSchedule:
    """Sleeps until the next drill is due, holds it, and says in the log how it went.

    A span counts from the last verdict, of whatever life; a cron expression's missed occurrences
    are left out. `schedules` gives what the config says now. Written only by `run`.
    """

    database: Database
    clock: Clock
    log: FilteringBoundLogger
    timezone: ZoneInfo
    schedules: Callable[[], Mapping[Drill, str]]
    hold: Callable[[Drill], Awaitable[Verdict]]
    _since: datetime = field(init=False)
    _tried: dict[Drill, datetime] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._since = self.clock.now()

    async def run(self) -> None:
        """Hold drills until cancelled."""
        while True:
            try:
                delays_s = [await self._see_to(*each) for each in self.schedules().items()]
            except SupervisorError as error:
                self.log.error("drill_not_held", error=str(error))
                delays_s = []
            await anyio.sleep(max(min([*delays_s, _SLICE_S]), _SLICE_MIN_S))

    async def _see_to(self, drill: Drill, schedule: str) -> float:
        """Hold the drill if it is due, and return the seconds until it has to be looked at."""
        due = await self._next_due(drill, schedule)
        if due is None:
            return _SLICE_S
        left_s = (due - self.clock.now()).total_seconds()
        if left_s <= 0:
            await self._hold(drill)
        return left_s

    async def _next_due(self, drill: Drill, schedule: str) -> datetime | None:
        if not schedule:
            return None
        ended = await self.database.read(last_end, drill)
        tried = self._tried.get(drill)
        if ended is not None and ended.ended_at is not None:
            at = from_us(ended.ended_at)
            tried = at if tried is None else max(tried, at)
        return next_due(schedule, tried=tried, since=self._since, timezone=self.timezone)

    async def _hold(self, drill: Drill) -> None:
        # Before it is held: one that can't be is tried again when it is due the next time.
        self._tried[drill] = self.clock.now()
        verdict = await self.hold(drill)
        if verdict.passed:
            self.log.info("drill_passed", drill=str(drill), what=verdict.what)
        else:
            self.log.error("drill_failed", drill=str(drill), why=verdict.what)


def scheduled_drills(loaded: Loaded) -> Mapping[Drill, str]:
    """Return when the config wants each drill held, empty where it does not."""
    section = loaded.config.drills
    return {
        Drill.KILL: section.kill,
        Drill.APPROVALS: section.approvals,
        Drill.RESTORE: section.restore,
    }


def next_due(
    schedule: str, *, tried: datetime | None, since: datetime, timezone: ZoneInfo
) -> datetime:
    """Return when a drill is due next.

    `schedule` is a span such as `7d`, or a cron expression. `tried` is when it was last held, or
    could not be, None where it never was; `since` is when this life began.
    """
    every_s = span_of(schedule)
    if every_s is None:
        return next_occurrence(schedule, max(since, tried or since), timezone)
    every = timedelta(seconds=every_s)
    return since + min(every, _FIRST_AFTER) if tried is None else tried + every
