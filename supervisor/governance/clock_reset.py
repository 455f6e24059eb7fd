"""Putting the ledger's clock back after a wall clock that was ahead, without refunding a cent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.errors import IllegalMove
from supervisor.events import upkeep_kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.commands import once
from supervisor.governance.rotation import (
    SYSTEM,
    close_session,
    session_id_at,
    system_journal,
)
from supervisor.governance.session import DAEMON_STOPPED, Session, SessionStatus
from supervisor.ledger.carrying import RunningAccount, raise_to, running_accounts
from supervisor.ledger.holds import find_account
from supervisor.ledger.limits import ledger_now, reset_ledger_clock
from supervisor.ledger.periods import Period, period_end, period_key
from supervisor.storage.database import Transaction
from supervisor.windows import window_at

_WHY = "spent while the clock was ahead"


class ResetClockCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Put the ledger's clock back to the wall clock, for a reason."""

    why: str


class ClockReset(msgspec.Struct, frozen=True, kw_only=True):
    """What was done; `carried` are today's accounts that count what the later ones had.

    `left` are sessions of the future that wait for a person: they stay as they are.
    """

    clock_before: str
    clock_at: str
    carried: tuple[str, ...]
    closed: tuple[str, ...]
    left: tuple[str, ...]


def reset_clock(
    tx: Transaction, command: ResetClockCommand, origin: Origin, timezone: ZoneInfo
) -> ClockReset:
    """Let money count in the present period again, with what the later ones have used already.

    The accounts of the later periods keep what they have: should the present wall clock be the one
    that is wrong, nothing was lost by this. Sessions of the future are closed. No daemon may run.

    Raises:
        IllegalMove: neither the clock nor a session is ahead.
        CommandConflict: the command id was used for something else.
    """

    def perform() -> ClockReset:
        return _reset(tx, command, origin, timezone)

    return once(tx, "reset_clock", command, origin, result=ClockReset, perform=perform)


def sessions_ahead(tx: Transaction, now: datetime) -> list[Session]:
    """Return the workers' open sessions whose window has not begun."""
    now_us = to_us(now)
    open_ones = tx.rows("sessions.open_ones", Session)
    return [one for one in open_ones if one.window_start > now_us and one.worker != SYSTEM]


def _reset(
    tx: Transaction, command: ResetClockCommand, origin: Origin, timezone: ZoneInfo
) -> ClockReset:
    now = origin.at
    before = ledger_now(tx, now)
    ahead = sessions_ahead(tx, now)
    if before == now and not ahead:
        raise IllegalMove(
            subject="the ledger's clock",
            what=f"is not ahead of the wall clock, {iso(now)}; nothing was done",
            fix="`supervisor doctor` says what is wrong, if anything is",
        )
    # Paused for a person: closing it would let its worker go on without one.
    left = [one for one in ahead if _waits_for_person(one)]
    closing = [one for one in ahead if not _waits_for_person(one)]
    with system_journal(tx, timezone, origin) as journal:
        journal.add(
            upkeep_kinds.LedgerClockReset(
                clock_before=to_us(before), clock_at=to_us(now), why=command.why
            )
        )
        carried = [
            present.id
            for account in running_accounts(tx, to_us(now))
            if (present := _present(account, ahead, now, timezone)) is not None
            and _carry(tx, journal, account, present)
        ]
    for session in closing:
        close_session(tx, session, origin)
    reset_ledger_clock(tx, now)
    return ClockReset(
        clock_before=iso(before),
        clock_at=iso(now),
        carried=tuple(sorted(set(carried))),
        closed=tuple(session.id for session in closing),
        left=tuple(session.id for session in left),
    )


def _waits_for_person(session: Session) -> bool:
    return session.status is SessionStatus.PAUSED and session.why != DAEMON_STOPPED


def _carry(
    tx: Transaction, journal: Journal, later: RunningAccount, present: RunningAccount
) -> bool:
    stored = find_account(tx, present.id)
    used = later.used + (0 if stored is None else stored.used)
    return raise_to(tx, journal, present, used, why=_WHY)


def _present(
    account: RunningAccount, ahead: Sequence[Session], now: datetime, timezone: ZoneInfo
) -> RunningAccount | None:
    """Return the account of now that stands for one of a later period; None if it is of now."""
    period = Period(account.period)
    if period is Period.SESSION:
        return _present_of_session(account, ahead, now, timezone)
    end = period_end(period, now, timezone=timezone)
    if end is None or account.resets_at is None or account.resets_at <= to_us(end):
        return None
    key = period_key(period, now, timezone=timezone)
    return _renamed(account, key, resets_at=to_us(end))


def _present_of_session(
    account: RunningAccount, ahead: Sequence[Session], now: datetime, timezone: ZoneInfo
) -> RunningAccount | None:
    session = next((one for one in ahead if one.id == account.period_key), None)
    if session is None:
        return None
    span_s = int((from_us(session.window_end) - from_us(session.window_start)).total_seconds())
    start = window_at(now, span_s=span_s, timezone=timezone).start
    return _renamed(account, session_id_at(session.worker, start), resets_at=None)


def _renamed(account: RunningAccount, key: str, *, resets_at: int | None) -> RunningAccount:
    """Return the account of the same limit in another period, with nothing used."""
    before = account.period_key
    return msgspec.structs.replace(
        account,
        id=account.id.replace(before, key),
        scope=account.scope.replace(before, key),
        period_key=key,
        settled=0,
        held=0,
        resets_at=resets_at,
    )
