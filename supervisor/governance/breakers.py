"""Breakers: closed, open, half-open, and durable."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from supervisor.clock import from_us, to_us
from supervisor.errors import BreakerOpen
from supervisor.events import kinds
from supervisor.events.log import Journal
from supervisor.storage.database import Transaction

#: How long a breaker that opened on a call above its hold waits before it lets a probe through.
OVERRUN_COOLDOWN_S = 300.0


class BreakerState(StrEnum):
    """Where a breaker stands; half-open lets one tick through as a probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker as stored; moments in microseconds since 1970 UTC."""

    name: str
    state: BreakerState
    why: str
    changed_at: int
    retry_at: int


def worker_breaker(worker: str) -> str:
    """Return the name of the worker's breaker."""
    return f"worker:{worker}"


def find_breaker(tx: Transaction, name: str) -> Breaker | None:
    """Return a breaker, None where it has never opened."""
    return tx.recall("governance.breaker", Breaker, name=name)


def admits(breaker: Breaker | None, now: datetime) -> BreakerOpen | None:
    """Return the refusal of an open breaker until its cooldown is over."""
    if breaker is None or breaker.state is not BreakerState.OPEN:
        return None
    retry_at = from_us(breaker.retry_at)
    if now >= retry_at:
        return None
    return BreakerOpen(name=breaker.name, why=breaker.why, retry_at=retry_at)


def let_probe_through(tx: Transaction, journal: Journal, breaker: Breaker | None) -> None:
    """Half-open a breaker whose cooldown is over: the tick that begins is its probe."""
    if breaker is None or breaker.state is not BreakerState.OPEN:
        return
    _set(tx, journal, breaker.name, BreakerState.HALF_OPEN, why=breaker.why)
    journal.add(kinds.BreakerHalfOpened(name=breaker.name))


def report_call(tx: Transaction, journal: Journal, *, worker: str, is_within_hold: bool) -> None:
    """Open the worker's breaker on a call above its hold, close it on a probe within its own.

    A call that costs more than its worst case means that the worst case was wrong, so that no
    cap is safe until somebody has looked (requirement L3).
    """
    name = worker_breaker(worker)
    if not is_within_hold:
        retry_at = journal.origin.at + timedelta(seconds=OVERRUN_COOLDOWN_S)
        why = "a call cost more than its hold"
        _set(tx, journal, name, BreakerState.OPEN, why=why, retry_at=to_us(retry_at))
        journal.add(kinds.BreakerOpened(name=name, why=why, retry_at=to_us(retry_at)))
        return
    breaker = find_breaker(tx, name)
    if breaker is not None and breaker.state is BreakerState.HALF_OPEN:
        _set(tx, journal, name, BreakerState.CLOSED, why="")
        journal.add(kinds.BreakerClosed(name=name))


def _set(
    tx: Transaction,
    journal: Journal,
    name: str,
    state: BreakerState,
    *,
    why: str,
    retry_at: int = 0,
) -> None:
    now = to_us(journal.origin.at)
    tx.run("governance.set_breaker", name=name, state=state, why=why, now=now, retry_at=retry_at)
