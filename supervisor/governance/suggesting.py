"""Limits that observed usage suggests."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us, to_us
from supervisor.events.counters import Counters
from supervisor.identity import Identity
from supervisor.ledger.accounts import QUARTER_S
from supervisor.ledger.periods import Period, period_key
from supervisor.storage.database import Transaction

#: Above the 95th percentile there is to be as much room again as half of it.
_ROOM = 1.5
_PERCENTILE = 0.95
#: Fewer are too few to go by.
SAMPLES_MIN = 5
_QUARTER_US = QUARTER_S * 1_000_000
#: The smallest numbers whose next suggestion would be finer than two digits.
_COARSE_FROM = 100


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """What was used, over samples; `limit` is what it suggests, `above` how many had more.

    Amounts in micro-USD, tokens or actions; `limit` has two digits, rounded up.
    """

    samples: int
    median: int
    p95: int
    peak: int
    limit: int
    above: int

    @property
    def is_thin(self) -> bool:
        return self.samples < SAMPLES_MIN


class SessionUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions have used: one sample for each that has used anything."""

    cost: Spread
    tokens: Spread
    actions: Spread


class IdentityUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What an identity, and whoever it covers, has used in a day: one sample for each such day."""

    identity: Identity
    cost: Spread
    tokens: Spread


class WeekUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What an identity has used in a week, in tokens and micro-USD."""

    identity: Identity
    week: str
    tokens: int
    cost: int


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """What was observed since a moment, and the limits that it suggests."""

    sessions: SessionUsage | None
    identities: tuple[IdentityUsage, ...]
    weeks: tuple[WeekUsage, ...]


class _OfSession(msgspec.Struct, frozen=True):
    cost: int
    tokens: int
    actions: int


class _OfIdentity(msgspec.Struct, frozen=True):
    org: str
    team: str
    user_id: str
    quarter: int
    cost: int
    tokens: int

    @property
    def identity(self) -> Identity:
        return Identity(org=self.org or None, team=self.team or None, user=self.user_id or None)

    @property
    def at(self) -> datetime:
        return from_us(self.quarter * _QUARTER_US).astimezone(UTC)


def suggest(tx: Transaction, since: datetime, timezone: ZoneInfo) -> Suggestion:
    """Read what was used since a moment, and what limits it suggests."""
    sessions = tx.rows("spending.of_sessions", _OfSession, since=to_us(since))
    days: dict[Identity, dict[str, _Sum]] = defaultdict(lambda: defaultdict(_Sum))
    weeks: dict[Identity, dict[str, _Sum]] = defaultdict(lambda: defaultdict(_Sum))
    # Twice, as a limit on somebody also counts whoever else it covers.
    named = {row.identity for row in _rows(tx, since)}
    for row in _rows(tx, since):
        day = period_key(Period.DAY, row.at, timezone=timezone)
        for identity in _covering(row.identity) & named:
            days[identity][day].add(row)
        weeks[row.identity][period_key(Period.WEEK, row.at, timezone=timezone)].add(row)
    return Suggestion(
        sessions=_of_sessions(sessions) if sessions else None,
        identities=tuple(
            IdentityUsage(
                identity=identity,
                cost=spread(one.cost for one in by_day.values()),
                tokens=spread(one.tokens for one in by_day.values()),
            )
            for identity, by_day in sorted(days.items(), key=lambda one: str(one[0]))
        ),
        weeks=tuple(_weeks(weeks)),
    )


def saved_since(tx: Transaction, since: datetime) -> int:
    """Return what routing has saved, in micro-USD, in the sessions that reach beyond a moment.

    It is against always the best model, by the usage of what was called instead.
    """
    rows = tx.rows("spending.counters", _Counted, since=to_us(since))
    return sum(msgspec.json.decode(row.counters, type=Counters).saved for row in rows)


class _Counted(msgspec.Struct, frozen=True):
    counters: str


def _rows(tx: Transaction, since: datetime) -> Iterator[_OfIdentity]:
    return tx.each("spending.of_identities", _OfIdentity, since=to_us(since))


def _covering(identity: Identity) -> set[Identity]:
    """Return every identity of which a limit would count this one's calls."""
    names = ((identity.org, None), (identity.team, None), (identity.user, None))
    found = itertools.product(*names)
    return {Identity(org=org, team=team, user=user) for org, team, user in found}


class _Sum:
    """Tokens and micro-USD, added up."""

    def __init__(self) -> None:
        self.cost = 0
        self.tokens = 0

    def add(self, row: _OfIdentity) -> None:
        self.cost += row.cost
        self.tokens += row.tokens


def _of_sessions(sessions: Sequence[_OfSession]) -> SessionUsage:
    return SessionUsage(
        cost=spread(one.cost for one in sessions),
        tokens=spread(one.tokens for one in sessions),
        actions=spread(one.actions for one in sessions),
    )


def _weeks(weeks: dict[Identity, dict[str, _Sum]]) -> Iterator[WeekUsage]:
    for identity, by_week in weeks.items():
        for week, used in sorted(by_week.items(), reverse=True):
            yield WeekUsage(identity=identity, week=week, tokens=used.tokens, cost=used.cost)


def spread(samples: Iterable[int]) -> Spread:
    """Return how samples are spread (by nearest rank) and what limit leaves room above most.

    Raises:
        IndexError: there is none.
    """
    ordered = sorted(samples)
    p95 = _at_rank(ordered, _PERCENTILE)
    limit = round_up(int(p95 * _ROOM))
    return Spread(
        samples=len(ordered),
        median=_at_rank(ordered, 0.5),
        p95=p95,
        peak=ordered[-1],
        limit=limit,
        above=sum(sample > limit for sample in ordered),
    )


def _at_rank(ordered: Sequence[int], share: float) -> int:
    rank = -(-len(ordered) * int(share * 100) // 100)
    return ordered[max(rank, 1) - 1]


def round_up(amount: int) -> int:
    """Return the next number with two digits and then zeros; at least 1."""
    step = 1
    while amount >= _COARSE_FROM * step:
        step *= 10
    return max(-(-amount // step) * step, 1)
