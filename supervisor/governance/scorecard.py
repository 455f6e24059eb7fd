"""The operational scorecard of sessions, days and horizons, read from the events (row S10)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.events.kinds import Event
from supervisor.governance.event_reading import (
    DamagedEvent,
    EventReading,
    has_sessions_before,
    whose,
)
from supervisor.governance.figures import Figures, Totals
from supervisor.governance.record_periods import finder, newest_periods
from supervisor.governance.retired_days import has_retired, retired_since
from supervisor.governance.rotation import SYSTEM
from supervisor.governance.trends import Trend, trends
from supervisor.ledger.periods import Period
from supervisor.storage.database import Transaction

By: TypeAlias = Literal["session", "day", "horizon"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which scorecards: the newest `windows_max` windows, of one worker or of all.

    `period` is what a window of days or horizons is.
    """

    by: By
    period: Period
    windows_max: int
    worker: str | None
    timezone: ZoneInfo


class Card(Totals, frozen=True, kw_only=True):
    """One window's scorecard; `trend` compares it with the window before it.

    `key` is the session's id, or the local day, hour, week or month in which the window began.
    `damaged` is how many of its events could not be read, and so are not in it.
    """

    key: str
    begins_at: str
    ends_at: str
    is_over: bool
    damaged: int
    trend: dict[str, Trend]


class Scorecards(msgspec.Struct, frozen=True, kw_only=True):
    """The scorecards, the oldest window first; `damaged` names the first hundred of its total.

    `is_complete` says that there is no older window. `events_ahead` happened, by a clock that was
    ahead, after the newest window, and are in none.
    """

    by: By
    horizon: str
    at: str
    windows: tuple[Card, ...]
    is_complete: bool
    events_ahead: int
    damaged: tuple[DamagedEvent, ...]
    damaged_total: int


class _Session(msgspec.Struct, frozen=True):
    id: str
    worker: str
    window_start: int
    window_end: int
    opened_at: int
    closed_at: int | None


class _Window:
    """A window while it is filled; moments in microseconds since 1970 UTC."""

    __slots__ = ("begins_at", "damaged", "ends_at", "figures", "is_over", "key", "until")

    def __init__(self, key: str, begins_at: int, ends_at: int, now: int) -> None:
        self.key = key
        self.begins_at = begins_at
        self.ends_at = ends_at
        self.is_over = ends_at <= now
        self.until = min(ends_at, now)
        self.figures = Figures()
        self.damaged = 0

    @property
    def lasted_s(self) -> float:
        """How long it has lasted until now."""
        return max(self.until - self.begins_at, 0) / 1e6

    @property
    def is_empty(self) -> bool:
        return self.figures.events == self.damaged == 0


def read_scorecards(tx: Transaction, wanted: Wanted, now: datetime) -> Scorecards:
    """Fold the events of the wanted windows, in one pass over them.

    Memory is bounded by the number of windows, not by that of events: run it in one read, so that
    all is of one moment. An event that can't be read is named, and the others are counted.

    Raises:
        StoreUnavailable: the store can't be read any further.
    """
    reading = EventReading(tx)
    ahead = 0
    if wanted.by == "session":
        cards, is_complete = _sessions(tx, reading, wanted, to_us(now))
    else:
        windows, ahead = _periods(tx, reading, wanted, now)
        has_older = has_sessions_before(tx, windows[0].begins_at)
        while not has_older and len(windows) > 1 and windows[0].is_empty:
            del windows[0]  # the record began later
        is_complete = not has_older and len(windows) <= wanted.windows_max
        if wanted.period is Period.HOUR:
            is_complete = is_complete and not has_retired(tx, windows[0].begins_at)
        cards = [_card(window, before) for before, window in _with_before(windows)]
        cards = cards[-wanted.windows_max :]
    return Scorecards(
        by=wanted.by,
        horizon=wanted.period if wanted.by == "horizon" else "",
        at=iso(now),
        windows=tuple(cards),
        is_complete=is_complete,
        events_ahead=ahead,
        damaged=tuple(reading.damaged),
        damaged_total=reading.damaged_total,
    )


# --- windows of the clock


def _periods(
    tx: Transaction, reading: EventReading, wanted: Wanted, now: datetime
) -> tuple[list[_Window], int]:
    """Return the windows, one more for the trend of the first, and what is in none of them."""
    count = wanted.windows_max + 1
    periods = newest_periods(wanted.period, now, timezone=wanted.timezone, count=count)
    windows = [_Window(one.key, one.begins_at, one.ends_at, to_us(now)) for one in periods]
    find = finder(periods)
    ahead = 0
    for row, event in reading.since(windows[0].begins_at):
        if wanted.worker is not None and whose(tx, row, event)[1] != wanted.worker:
            continue
        place = find(row.at)
        if place is None:
            ahead += 1
        else:
            _count(windows[place], event)
    if wanted.period is not Period.HOUR:  # what was kept is of whole days
        for day in retired_since(tx, windows[0].begins_at):
            place = find(day.day_at)
            if place is not None and wanted.worker in (None, day.worker):
                windows[place].figures.include(day.unpacked())
    return windows, ahead


# --- windows of sessions


def _sessions(
    tx: Transaction, reading: EventReading, wanted: Wanted, now: int
) -> tuple[list[Card], bool]:
    rows = tx.rows(
        "scorecard.newest_sessions",
        _Session,
        worker=wanted.worker,
        system=SYSTEM,
        rows_max=wanted.windows_max + 1,
    )
    newest = rows[: wanted.windows_max]
    folded: dict[str, _Window] = {}
    cards: list[Card] = []
    for session in reversed(newest):
        before = tx.row(
            "scorecard.session_before",
            _Session,
            worker=session.worker,
            window_start=session.window_start,
        )
        for one in (before, session):
            if one is not None and one.id not in folded:
                folded[one.id] = _fold(reading, one, now)
        previous = folded.pop(before.id) if before is not None else None
        cards.append(_card(folded[session.id], previous))
    # Of sessions that were retired only their days' figures are there.
    is_complete = len(rows) <= wanted.windows_max and not has_retired(tx, 0)
    return cards, is_complete


def _fold(reading: EventReading, session: _Session, now: int) -> _Window:
    closed_at = session.closed_at
    window = _Window(session.id, session.opened_at, session.window_end, now)
    window.is_over = closed_at is not None
    latest = session.opened_at
    for row, event in reading.of_session(session.id):
        _count(window, event)
        latest = max(latest, row.at)
    # One that is closed or goes on late, or is paused past its window, has lasted as long as that.
    window.until = max(window.until, latest) if closed_at is None else closed_at
    return window


# --- cards


def _count(window: _Window, event: Event | None) -> None:
    if event is None:
        window.damaged += 1
    else:
        window.figures.add(event)


def _with_before(windows: list[_Window]) -> Iterator[tuple[_Window | None, _Window]]:
    return zip([None, *windows[:-1]], windows, strict=True)


def _card(window: _Window, before: _Window | None) -> Card:
    totals = window.figures.totals()
    trend: dict[str, Trend] = {}
    if before is not None:
        trend = trends(
            totals.headline(),
            window.lasted_s,
            before.figures.totals().headline(),
            before.lasted_s,
        )
    return Card(
        **msgspec.structs.asdict(totals),
        key=window.key,
        begins_at=iso(from_us(window.begins_at)),
        ends_at=iso(from_us(window.ends_at)),
        is_over=window.is_over,
        damaged=window.damaged,
        trend=trend,
    )
