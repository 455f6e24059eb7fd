"""The gates: an ordered tuple of pure functions that guard every tick and every paid call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from supervisor.clock import from_us, iso
from supervisor.errors import Refusal, SessionNotActive
from supervisor.governance.breaker import Asker, Breaker, admits, watched_breakers
from supervisor.governance.kill_switch import Latch, applying, engaged
from supervisor.governance.model_governor import ModelAccess
from supervisor.governance.rotation import latest_session_of, open_session_of
from supervisor.governance.session import Session, SessionStatus
from supervisor.identity import Identity
from supervisor.ledger.accounts import Budgets, Call, Unit
from supervisor.ledger.holds import Balance, balances_of
from supervisor.ledger.ledger import refusal
from supervisor.storage.database import Transaction


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the gates look at, read in one transaction.

    `ledger_now` is the moment by which periods count. `spent` are those accounts that the worker's
    next call would be held on and that are used up. `is_free` says that its model is priced 0, so
    that no account of money can stop it. `breakers` are those of the asker that are not closed, or
    that count failures. `last` is the worker's latest session where it has none that is open.
    `access` is what the governor says of its model, None where nothing is governed.
    """

    now: datetime
    ledger_now: datetime
    worker: str
    session: Session | None
    last: Session | None = None
    latches: Sequence[Latch] = ()
    spent: Sequence[Balance] = ()
    is_free: bool = False
    asker: Asker
    breakers: Sequence[Breaker] = ()
    access: ModelAccess | None = None

    @property
    def is_watched(self) -> bool:
        """Whether a good end would be news to a breaker."""
        return bool(self.breakers)


Gate: TypeAlias = Callable[[Situation], Refusal | None]


def kill_switch(situation: Situation) -> Refusal | None:
    """Refuse what a latched kill reaches.

    An abort ends the session and not its kill: that holds the worker until it is released.
    """
    session = situation.session or situation.last
    is_its_own = session is not None and session.status is not SessionStatus.COMPLETED
    session_id = session.id if session is not None and is_its_own else None
    return applying(situation.latches, worker=situation.worker, session_id=session_id)


def acp_session(situation: Situation) -> Refusal | None:
    """Refuse what has no active session."""
    session = situation.session
    if session is None:
        return _no_session(situation)
    if session.status is SessionStatus.ACTIVE:
        return None
    return SessionNotActive(session_id=session.id, status=session.status, why=session.why)


def _no_session(situation: Situation) -> SessionNotActive:
    last = situation.last
    if last is not None and last.status is SessionStatus.ABORTED:
        return SessionNotActive(
            session_id=last.id,
            status=last.status,
            why=last.why,
            fix=f"worker {last.worker} gets its next one when this window ends,"
            f" at {iso(from_us(last.window_end))}",
        )
    return SessionNotActive(
        session_id=f"of {situation.worker}",
        status="over",
        why="the clock went back into a window that was closed",
        fix="set the clock right, or wait until that window ends by it",
    )


def spend_cap(situation: Situation) -> Refusal | None:
    """Refuse where an account is used up; whether a call fits is the ledger's to say."""
    for account in situation.spent:
        is_money = account.unit is Unit.MICRO_USD
        if not (is_money and situation.is_free):
            return refusal(account, 1)
    return None


def breakers(situation: Situation) -> Refusal | None:
    """Refuse while a breaker of the worker, of the call's provider or of all is open."""
    asker, now = situation.asker, situation.now
    refusals = (admits(breaker, asker, now) for breaker in situation.breakers)
    return next((refusal for refusal in refusals if refusal is not None), None)


def model_access(situation: Situation) -> Refusal | None:
    """Refuse a model that the call's identity may not use."""
    return situation.access.refusal if situation.access else None


#: In the order of requirement D3; the last is of paid calls alone.
GATES: tuple[Gate, ...] = (kill_switch, acp_session, spend_cap, breakers, model_access)


def first_refusal(situation: Situation) -> Refusal | None:
    """Return the first gate's no, or None where all say yes."""
    for gate in GATES:
        refusal = gate(situation)
        if refusal is not None:
            return refusal
    return None


class _Alarms(msgspec.Struct, frozen=True):
    """Whether there is anything to read, which most of the time there is not, and the time."""

    latches: int
    breakers: int
    ledger_at: int


def look(tx: Transaction, asker: Asker, *, now: datetime) -> Situation:
    """Read what the gates of a tick or a paid call look at; a call's hold checks its accounts."""
    worker, (breaker, provider, system) = asker.worker, asker.breakers
    alarms = tx.recall(
        "governance.alarms", _Alarms, breaker=breaker, provider=provider, system=system
    )
    assert alarms is not None, "a count always has a row"
    session = open_session_of(tx, worker)
    return Situation(
        now=now,
        ledger_now=max(now, from_us(alarms.ledger_at)),
        worker=worker,
        session=session,
        last=None if session else latest_session_of(tx, worker),
        latches=engaged(tx) if alarms.latches else (),
        asker=asker,
        breakers=watched_breakers(tx, asker) if alarms.breakers else (),
    )


def look_at_accounts(
    tx: Transaction,
    situation: Situation,
    budgets: Budgets,
    *,
    model: str,
    identity: Identity,
    is_free: bool,
) -> Situation:
    """Return the situation with the accounts that the worker's next call would be held on."""
    session_id = situation.session.id if situation.session else ""
    call = Call(worker=situation.worker, session_id=session_id, model=model, identity=identity)
    keys = budgets.accounts(call, situation.ledger_now)
    balances = balances_of(tx, [key.id for key in keys])
    spent = [balance for balance in balances if balance.used >= balance.limit_amount]
    return msgspec.structs.replace(situation, spent=spent, is_free=is_free)
