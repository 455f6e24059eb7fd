"""When a worker ticks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed delay: `every_s` seconds from the end of a tick to the next; the first at once."""

    every_s: float

    def first_delay_s(self, now: datetime) -> float:
        return 0.0

    def next_delay_s(self, now: datetime) -> float:
        return self.every_s


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a timezone; cronsim has Debian cron's rules for clock changes."""

    expression: str
    timezone: ZoneInfo

    def first_delay_s(self, now: datetime) -> float:
        return self.next_delay_s(now)

    def next_delay_s(self, now: datetime) -> float:
        from cronsim import CronSim

        occurrences = CronSim(self.expression, now.astimezone(self.timezone))
        # In an hour that comes twice, what has run in its first pass is offered again: it is past.
        delays = ((moment.astimezone(UTC) - now).total_seconds() for moment in occurrences)
        return next(delay_s for delay_s in delays if delay_s > 0)
