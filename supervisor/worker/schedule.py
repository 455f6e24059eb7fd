"""When a worker ticks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from zoneinfo import ZoneInfo

from supervisor.windows import next_occurrence


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed delay: `every_s` seconds from the end of a tick to the next; the first at once."""

    follows_wall_clock: ClassVar[bool] = False
    every_s: float

    def next_delay_s(self, now: datetime) -> float:
        return self.every_s


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a timezone; cronsim has Debian cron's rules for clock changes.

    `missed` is what becomes of occurrences that nobody was there to run: `skip`, `once` (the last
    of them) or `all` that are not later than `lateness_max_s`. `overlap` is what becomes of one
    that is due while a tick runs: `skip`, `queue` (one of them, after it) or `cancel` (the tick).
    Each runs up to `jitter_s` seconds after its time.
    """

    follows_wall_clock: ClassVar[bool] = True
    expression: str
    timezone: ZoneInfo
    missed: str = "skip"
    lateness_max_s: float = 3_600.0
    overlap: str = "skip"
    jitter_s: float = 0.0

    @property
    def name(self) -> str:
        """What its occurrences are known by: another expression has others."""
        return f"{self.expression} {self.timezone.key}"

    def next_after(self, moment: datetime) -> datetime:
        """Return the first occurrence after `moment`, in UTC."""
        return next_occurrence(self.expression, moment, self.timezone)

    def next_delay_s(self, now: datetime) -> float:
        return (self.next_after(now) - now).total_seconds()


@dataclass(frozen=True, slots=True)
class OnQueue:
    """As long as there are jobs in a queue; between them nothing but an arrival ends the wait."""

    follows_wall_clock: ClassVar[bool] = False
    queue: str

    def next_delay_s(self, now: datetime) -> float:
        return 0.0
