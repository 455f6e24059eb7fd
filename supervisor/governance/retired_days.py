"""The figures of days whose windows were retired: folded before they went, and kept."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us
from supervisor.governance.event_reading import EventReading, whose
from supervisor.governance.figures import Figures
from supervisor.governance.record_periods import RecordPeriod, newest_periods
from supervisor.ledger.periods import Period
from supervisor.storage.database import Transaction


class RetiredDay(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker's retired events of a local day add up to; `day_at` in microseconds.

    A correction of a call is its worker's, though it stands in the system's session.
    """

    day_at: int
    worker: str
    figures: str

    def unpacked(self) -> Figures:
        """Return the figures."""
        return msgspec.json.decode(self.figures, type=Figures)


def fold_days(tx: Transaction, timezone: ZoneInfo) -> tuple[RetiredDay, ...]:
    """Fold every event of a store, such as that of an export, by worker and local day."""
    days: dict[tuple[int, str], Figures] = {}
    day = RecordPeriod(key="", begins_at=0, ends_at=0)
    for row, event in EventReading(tx).since(0):
        if event is None:
            continue  # what can't be read is not exported
        if not day.holds(row.at):
            (day,) = newest_periods(Period.DAY, from_us(row.at), timezone=timezone, count=1)
        _, worker = whose(tx, row, event)
        days.setdefault((day.begins_at, worker), Figures()).add(event)
    return tuple(_packed(day_at, worker, days[day_at, worker]) for day_at, worker in sorted(days))


def keep_days(tx: Transaction, days: tuple[RetiredDay, ...]) -> None:
    """Add figures to what was kept of these days before: a window may go later than another."""
    for day in days:
        before = tx.row("scorecard.retired_day", RetiredDay, day_at=day.day_at, worker=day.worker)
        figures = day.unpacked()
        if before is not None:
            figures.include(before.unpacked())
        kept = _packed(day.day_at, day.worker, figures)
        tx.run("scorecard.keep_retired_day", **msgspec.structs.asdict(kept))


def retired_since(tx: Transaction, since: int) -> Iterator[RetiredDay]:
    """Yield what was kept of days that began then or later, in microseconds since 1970."""
    return tx.each("scorecard.retired_since", RetiredDay, since=since)


def has_retired(tx: Transaction, since: int) -> bool:
    """Return whether anything was retired of days that began then or later."""
    return next(retired_since(tx, since), None) is not None


def _packed(day_at: int, worker: str, figures: Figures) -> RetiredDay:
    return RetiredDay(day_at=day_at, worker=worker, figures=msgspec.json.encode(figures).decode())
