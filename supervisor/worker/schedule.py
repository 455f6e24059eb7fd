"""When a worker ticks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed delay: `every_s` seconds from the end of a tick to the next; the first at once."""

    follows_wall_clock: ClassVar[bool] = False
    every_s: float

    def next_delay_s(self, now: datetime) -> float:
        return self.every_s


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a timezone; cronsim has Debian cron's rules for clock changes."""

    follows_wall_clock: ClassVar[bool] = True
    expression: str
    timezone: ZoneInfo

    def next_delay_s(self, now: datetime) -> float:
        from cronsim import CronSim

        occurrences = CronSim(self.expression, now.astimezone(self.timezone))
        # In an hour that comes twice, what has run in its first pass is offered again: it is past.
        delays = ((moment.astimezone(UTC) - now).total_seconds() for moment in occurrences)
        return next(delay_s for delay_s in delays if delay_s > 0)


@dataclass(frozen=True, slots=True)
class OnQueue:
    """As long as there are jobs in a queue; between them nothing but an arrival ends the wait."""

    follows_wall_clock: ClassVar[bool] = False
    queue: str

    def next_delay_s(self, now: datetime) -> float:
        return 0.0
