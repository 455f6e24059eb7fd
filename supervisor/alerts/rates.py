"""Rates of change: a kind of event that comes much more often than in the window before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from supervisor.alerts.facts import Fact, Severity
from supervisor.alerts.record import SEEN
from supervisor.clock import Clock, to_us
from supervisor.events.log import Recorded
from supervisor.storage.database import Transaction

#: A window is counted in so many parts.
_PARTS = 12
#: Of the record this much is read at a start; a window that goes back further begins anew.
_EVENTS_MAX = 500_000
_LIVES_MAX = 1_000


class RateRule(msgspec.Struct, frozen=True, kw_only=True):
    """Tell when `kind` came at least `at_least` times, and `rise` times as often as before."""

    kind: str
    window_s: float
    rise: float
    at_least: int

    @property
    def part(self) -> timedelta:
        """The span of one of the parts in which a window is counted."""
        return timedelta(seconds=self.window_s / _PARTS)


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What the record says of a rule: how often its kind came by parts, the last one now.

    `parts` are those for which somebody has counted, at most those of two windows.
    """

    parts: tuple[int, ...]


class _Life(msgspec.Struct, frozen=True):
    started_at: int
    heartbeat_at: int


class _Counted(msgspec.Struct, frozen=True):
    age: int
    events: int


class _Oldest(msgspec.Struct, frozen=True):
    at: int


def read_past(tx: Transaction, rules: Sequence[RateRule], now: datetime) -> list[Past]:
    """Return what the record says of each rule, so that a restart is no beginning.

    A time in which no daemon lived is no time without events: counting begins after it, unless it
    was shorter than a part.
    """
    return [_past(tx, rule, now) for rule in rules]


def _past(tx: Transaction, rule: RateRule, now: datetime) -> Past:
    parts = min(_lived(tx, rule, now), 2 * _PARTS)
    part_us = round(rule.part.total_seconds() * 1e6)
    until = to_us(now)
    rows = tx.rows(
        "alerts.counted",
        _Counted,
        kind=rule.kind,
        since=until - parts * part_us,
        until=until,
        part=part_us,
        events_max=_EVENTS_MAX,
    )
    counts = {row.age: row.events for row in rows}
    return Past(parts=tuple(counts.get(age, 0) for age in reversed(range(parts))))


def _lived(tx: Transaction, rule: RateRule, now: datetime) -> int:
    """Return for how many parts back from now daemons have lived, and the record is read."""
    part_us = round(rule.part.total_seconds() * 1e6)
    since = to_us(now) - 2 * _PARTS * part_us
    lives = tx.rows("alerts.lives", _Life, since=since, rows_max=_LIVES_MAX)
    edge = to_us(now)
    for life in lives:
        if life.heartbeat_at + part_us < edge:
            break
        edge = min(edge, life.started_at)
    oldest = tx.row("alerts.oldest_counted", _Oldest, events_max=_EVENTS_MAX)
    if oldest is not None:
        edge = max(edge, oldest.at)
    return max(to_us(now) - edge, 0) // part_us


class _Counts:
    """How often a kind came in this window and in the one before, in parts."""

    def __init__(self, rule: RateRule, past: Past, began_s: float) -> None:
        self.rule = rule
        self._began_s = began_s
        known = len(past.parts)
        parts = [0] * (2 * _PARTS - known) + list(past.parts)
        self._parts: deque[int] = deque(parts, maxlen=2 * _PARTS)
        self._lived = known
        self._part = 0

    def move_to(self, now_s: float) -> None:
        part = int((now_s - self._began_s) / self.rule.part.total_seconds())
        self._parts.extend([0] * min(part - self._part, 2 * _PARTS))
        self._part = part

    def add(self) -> None:
        self._parts[-1] += 1

    def found(self) -> Fact | None:
        parts = list(self._parts)
        before, now = sum(parts[:_PARTS]), sum(parts[_PARTS:])
        rule = self.rule
        # Two whole windows have to be over: a beginning is not a rise.
        is_known = self._lived + self._part >= 2 * _PARTS
        if not is_known or now < rule.at_least or now < rule.rise * max(before, 1):
            return None
        return Fact(
            key=f"{SEEN}rate:{rule.kind}",
            severity=Severity.WARNING,
            title=f"{rule.kind} comes more and more often",
            what=f"{now} in the last {rule.window_s:g} s, {before} in the window before",
            done="nothing: a rate alone stops nobody",
            command=f"`supervisor events --kind {rule.kind}`",
        )


class Rates:
    """Counts what this daemon commits, and begins with what the record says of the time before."""

    def __init__(self, rules: Callable[[], Sequence[RateRule]], clock: Clock) -> None:
        self._rules = rules
        self._clock = clock
        self._counts: dict[RateRule, _Counts] = {}

    @property
    def unknown(self) -> list[RateRule]:
        """The rules whose past is to be read: all at a start, new ones after a reload."""
        return [rule for rule in self._rules() if rule not in self._counts]

    def begin(self, rules: Sequence[RateRule], past: Sequence[Past]) -> None:
        """Go on from the past of these rules, as it was a moment ago."""
        now_s = self._clock.monotonic()
        for rule, one in zip(rules, past, strict=True):
            self._counts[rule] = _Counts(rule, one, now_s)

    def follow(self, facts: Sequence[object]) -> None:
        """Count what one commit has made true."""
        if not self._counts:
            return
        for fact in facts:
            if isinstance(fact, Recorded):
                self._count(fact.event.kind)

    def _count(self, kind: str) -> None:
        for rule, counts in self._counts.items():
            if rule.kind == kind:
                counts.move_to(self._clock.monotonic())
                counts.add()

    def found(self) -> list[Fact]:
        """Return what comes more often than it may now."""
        rules = self._rules()
        self._counts = {rule: counts for rule, counts in self._counts.items() if rule in rules}
        now_s = self._clock.monotonic()
        for counts in self._counts.values():
            counts.move_to(now_s)
        return [fact for counts in self._counts.values() if (fact := counts.found()) is not None]
