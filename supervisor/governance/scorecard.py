"""The operational scorecard of sessions, days and horizons, read from the events (row S10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.events.kinds import KINDS, Event
from supervisor.governance.figures import Figures, Totals
from supervisor.governance.rotation import SYSTEM
from supervisor.governance.sound_rows import BEFORE_ALL, NumberKey, damage_text, sound_rows
from supervisor.governance.trends import Trend, trends
from supervisor.ledger.periods import Period, period_end, period_start
from supervisor.storage.database import Transaction

By: TypeAlias = Literal["session", "day", "horizon"]

_DAMAGES_MAX = 100
_US = timedelta(microseconds=1)


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


class DamagedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that could not be read; `session_id` and `seq` are given where they are known."""

    position: int
    what: str
    session_id: str = ""
    seq: int | None = None


class Scorecards(msgspec.Struct, frozen=True, kw_only=True):
    """The scorecards, the oldest window first; `damaged` names the first hundred of its total."""

    by: By
    horizon: str
    at: str
    windows: tuple[Card, ...]
    is_complete: bool
    damaged: tuple[DamagedEvent, ...]
    damaged_total: int


class _EventRow(msgspec.Struct, frozen=True):
    key: int
    session_id: str
    seq: int
    at: int
    kind: str
    payload: str


class _Session(msgspec.Struct, frozen=True):
    id: str
    worker: str
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
    reading = _Reading(tx)
    if wanted.by == "session":
        cards, is_complete = _sessions(tx, reading, wanted, to_us(now))
    else:
        cards, is_complete = _periods(reading, wanted, now), True
    return Scorecards(
        by=wanted.by,
        horizon=wanted.period if wanted.by == "horizon" else "",
        at=iso(now),
        windows=tuple(cards),
        is_complete=is_complete,
        damaged=tuple(reading.damaged),
        damaged_total=reading.damaged_total,
    )


class _Reading:
    """Events one after the other; what can't be read of them is named and passed over."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.damaged: list[DamagedEvent] = []
        self.damaged_total = 0

    def since(self, since: int) -> Iterator[tuple[_EventRow, Event | None]]:
        """Yield every event that happened then or later, None for one that can't be parsed."""
        return self._each("since", since=since)

    def of_session(self, session_id: str) -> Iterator[tuple[_EventRow, Event | None]]:
        """Yield every event of a session, None for one that can't be parsed."""
        return self._each("of_session", session_id=session_id)

    def _each(self, which: str, **values: int | str) -> Iterator[tuple[_EventRow, Event | None]]:
        def pass_over(at: int, error: Exception) -> int:
            broken = self._tx.row(f"scorecard.next_{which}", NumberKey, after=at, **values)
            if broken is None:
                raise error
            session_id = str(values.get("session_id", ""))
            self._name(broken.key, damage_text(error), session_id=session_id)
            return broken.key

        rows = sound_rows(
            lambda at: self._tx.each(f"scorecard.events_{which}", _EventRow, after=at, **values),
            after=BEFORE_ALL,
            key=lambda row: row.key,
            pass_over=pass_over,
        )
        for row in rows:
            yield row, self._parse(row)

    def _parse(self, row: _EventRow) -> Event | None:
        try:
            return msgspec.json.decode(row.payload, type=KINDS[row.kind])
        except KeyError:
            what = f"kind {row.kind!r} is not known"
        except msgspec.DecodeError as error:
            what = f"its payload {damage_text(error)}"
        self._name(row.key, what, session_id=row.session_id, seq=row.seq)
        return None

    def _name(self, position: int, what: str, *, session_id: str, seq: int | None = None) -> None:
        self.damaged_total += 1
        if len(self.damaged) < _DAMAGES_MAX:
            one = DamagedEvent(position=position, what=what, session_id=session_id, seq=seq)
            self.damaged.append(one)


# --- windows of the clock


def _periods(reading: _Reading, wanted: Wanted, now: datetime) -> list[Card]:
    windows = _windows_until(now, wanted)
    place = _finder(windows)
    for row, event in reading.since(windows[0].begins_at):
        window = place(row.at)
        if window is not None and _is_of(row.session_id, wanted.worker):
            _count(window, event)
    while len(windows) > 1 and windows[0].is_empty:
        del windows[0]  # the record began later
    # The first of more is only there for the second one's trend.
    is_extra = len(windows) > wanted.windows_max
    cards = [_card(window, before) for before, window in _with_before(windows)]
    return cards[1:] if is_extra else cards


def _windows_until(now: datetime, wanted: Wanted) -> list[_Window]:
    windows: list[_Window] = []
    moment = now
    while len(windows) <= wanted.windows_max:
        start = period_start(wanted.period, moment, timezone=wanted.timezone)
        end = period_end(wanted.period, moment, timezone=wanted.timezone)
        assert start is not None, f"the clock begins no {wanted.period}"
        assert end is not None, f"the clock ends no {wanted.period}"
        key = _key(wanted.period, start.astimezone(wanted.timezone))
        windows.insert(0, _Window(key, to_us(start), to_us(end), to_us(now)))
        moment = start - _US
    return windows


def _key(period: Period, local: datetime) -> str:
    match period:
        case Period.HOUR:
            return local.strftime("%Y-%m-%dT%H:%M%z")
        case Period.MONTH:
            return local.strftime("%Y-%m")
        case Period.WEEK:
            year, week, _ = local.isocalendar()
            return f"{year}-W{week:02d}"
        case _:
            return local.date().isoformat()


def _finder(windows: list[_Window]) -> Callable[[int], _Window | None]:
    """Return what finds the window of a moment; most events are of that of the one before."""
    latest = windows[0]

    def find(at: int) -> _Window | None:
        nonlocal latest
        if not latest.begins_at <= at < latest.ends_at:
            found = next((one for one in windows if one.begins_at <= at < one.ends_at), None)
            if found is None:
                return None  # under a clock that was ahead
            latest = found
        return latest

    return find


def _is_of(session_id: str, worker: str | None) -> bool:
    return worker is None or session_id.rpartition("@")[0] == worker


# --- windows of sessions


def _sessions(
    tx: Transaction, reading: _Reading, wanted: Wanted, now: int
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
            opened_at=session.opened_at,
        )
        for one in (before, session):
            if one is not None and one.id not in folded:
                folded[one.id] = _fold(reading, one, now)
        previous = folded.pop(before.id) if before is not None else None
        cards.append(_card(folded[session.id], previous))
    return cards, len(rows) <= wanted.windows_max


def _fold(reading: _Reading, session: _Session, now: int) -> _Window:
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
