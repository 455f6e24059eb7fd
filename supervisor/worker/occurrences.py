"""What the store knows of a schedule: the last occurrence that was taken, and what was missed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us, to_us
from supervisor.events import kinds
from supervisor.events.log import Origin
from supervisor.governance.rotation import system_journal
from supervisor.storage.database import Transaction

#: A clock that is set back by more was wrong before: nobody waits for it to come round.
AHEAD_MAX = timedelta(hours=25)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """An occurrence that somebody wants to run: `due` follows on `before`, the last one taken.

    Moments in microseconds since 1970 UTC; `schedule` names the expression and its timezone.
    """

    schedule: str
    before: int
    due: int


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """An occurrence that does not run, and why."""

    due: datetime
    why: str


class _Row(msgspec.Struct, frozen=True):
    schedule: str
    taken_at: int


def open_schedule(tx: Transaction, worker: str, schedule: str, now: datetime) -> datetime:
    """Return the last occurrence that was taken; a schedule that is new begins now."""
    row = tx.row("workers.schedule", _Row, worker=worker)
    if row is not None and row.schedule == schedule and from_us(row.taken_at) < now + AHEAD_MAX:
        return from_us(row.taken_at)
    tx.run("workers.open_schedule", worker=worker, schedule=schedule, now=to_us(now))
    return from_us(to_us(now))


def take(tx: Transaction, worker: str, claim: Claim) -> bool:
    """Take an occurrence, and return whether nobody else has taken it before."""
    changed = tx.run(
        "workers.take_occurrence",
        worker=worker,
        schedule=claim.schedule,
        before=claim.before,
        due=claim.due,
    )
    return changed == 1


def give_up(
    tx: Transaction,
    worker: str,
    claim: Claim,
    missed: Sequence[Missed],
    origin: Origin,
    timezone: ZoneInfo,
) -> bool:
    """Record each occurrence that does not run, up to the claim's, and whether they were free."""
    if not take(tx, worker, claim):
        return False
    with system_journal(tx, timezone, origin) as journal:
        for one in missed:
            journal.add(kinds.OccurrenceMissed(worker=worker, due_at=to_us(one.due), why=one.why))
    return True
