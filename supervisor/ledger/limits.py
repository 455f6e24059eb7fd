"""Opening accounts, and giving them the limits of the config."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from supervisor.clock import from_us, to_us
from supervisor.events import kinds, model_kinds
from supervisor.events.log import Journal
from supervisor.ledger.accounts import QUARTER_S, AccountKey, Amounts, Budget, Budgets, Unit
from supervisor.ledger.gaps import with_gaps
from supervisor.ledger.holds import Account, find_account, split_ids, with_id
from supervisor.ledger.periods import Period, period_end, period_start
from supervisor.ledger.scopes import SESSION, scope_parts
from supervisor.storage.database import Transaction

_QUARTER_US = QUARTER_S * 1_000_000
_NAMED = ("worker", "model", "org", "team", "user", "conversation")
# There may be very many of these, so that each has an index of its holds.
_INDEXED = ("conversation", "user")


class _Moment(msgspec.Struct, frozen=True):
    at: int


def ledger_moment(tx: Transaction, now: datetime) -> datetime:
    """Return `now`, or the ledger's clock where that is ahead, and see that the clock keeps up.

    It is written when a new quarter of an hour begins: no period begins in between, so that the
    clock keeps every period from being entered again just as well.
    """
    before, now_us = _clock(tx), to_us(now)
    if now_us // _QUARTER_US > before // _QUARTER_US:
        tx.run("ledger.set_clock", now=now_us)
    return now if before <= now_us else from_us(before)


def open_or_renew(
    tx: Transaction, journal: Journal, key: AccountKey, budgets: Budgets, moment: datetime
) -> bool:
    """Bring the account to what the config says of it now, and return whether that changed it.

    It is opened if it does not exist. One that was opened under another limit or calendar, or
    whose limit was gone for a while, is renewed. Both count what its scope has used of the period
    already, also where no limit stood; nothing is refunded (requirement L4).
    """
    account = find_account(tx, key.id)
    if account is None:
        _open(tx, journal, key, budgets, moment)
        return True
    if (account.limit_amount, account.resets_at) == (key.limit_amount, key.resets_at):
        return False
    _renew(tx, journal, key, account, _used_since(tx, key, budgets, moment))
    return True


class _Totals(msgspec.Struct, frozen=True):
    """What ended holds have used, and how many open or forfeited ones there are beside them."""

    cost: int
    tokens: int
    actions: int
    movable: int


class _Movable(msgspec.Struct, frozen=True, kw_only=True):
    """A hold that can still change: an open one, or one that may be put right."""

    id: str
    account_ids: str
    is_open: bool
    cost: int
    tokens: int
    actions: int

    @property
    def amounts(self) -> Amounts:
        return Amounts(cost=self.cost, tokens=self.tokens, actions=self.actions)


class _Used(msgspec.Struct, frozen=True, kw_only=True):
    """What a scope has used of a period, in the account's unit.

    `settled` is of all holds that have ended. `joining` are those of the holds that can still
    change, which are not on the account yet.
    """

    settled: int
    unit: Unit
    joining: Sequence[_Movable] = ()

    @property
    def held(self) -> int:
        return sum(hold.amounts.of(self.unit) for hold in self.joining if hold.is_open)

    @property
    def forfeited(self) -> int:
        return sum(hold.amounts.of(self.unit) for hold in self.joining if not hold.is_open)


def _open(
    tx: Transaction, journal: Journal, key: AccountKey, budgets: Budgets, moment: datetime
) -> None:
    used = _used_since(tx, key, budgets, moment)
    overrun = max(used.settled + used.held - key.limit_amount, 0)
    tx.run(
        "ledger.open_account",
        id=key.id,
        scope=key.scope,
        period=key.period,
        period_key=key.period_key,
        unit=key.unit,
        limit_amount=key.limit_amount,
        settled=used.settled,
        held=used.held,
        overrun=overrun,
        now=to_us(journal.origin.at),
        resets_at=key.resets_at,
    )
    limit, settled = key.limit_amount, used.settled
    journal.add(kinds.AccountOpened(account=key.id, limit_amount=limit, settled=settled))
    _join(tx, journal, key, used)
    _note_overrun(journal, key.id, overrun)


def _renew(
    tx: Transaction, journal: Journal, key: AccountKey, account: Account, used: _Used
) -> None:
    settled, held = _together(account, used)
    overrun = max(settled + held - key.limit_amount, 0)
    tx.run(
        "ledger.renew_account",
        id=key.id,
        limit_amount=key.limit_amount,
        settled=settled,
        held=held,
        overrun=overrun,
        resets_at=key.resets_at,
    )
    journal.add(
        kinds.AccountLimitChanged(
            account=key.id, before=account.limit_amount, limit_amount=key.limit_amount
        )
    )
    if settled != account.settled:
        journal.add(kinds.AccountRecounted(account=key.id, before=account.settled, settled=settled))
    _join(tx, journal, key, used)
    _note_overrun(journal, key.id, overrun)


def _together(account: Account, used: _Used) -> tuple[int, int]:
    """Return what the account has settled and holds, with what its scope has used besides."""
    # What was forfeited while no limit stood is not among what the account has settled.
    return max(account.settled + used.forfeited, used.settled), account.held + used.held


def used_of(
    tx: Transaction, key: AccountKey, budgets: Budgets, moment: datetime
) -> tuple[int, int]:
    """Return what the next hold would find settled and held on the account; changes nothing."""
    account = find_account(tx, key.id)
    if account is None:
        used = _used_since(tx, key, budgets, moment)
        return used.settled, used.held
    if (account.limit_amount, account.resets_at) == (key.limit_amount, key.resets_at):
        return account.settled, account.held
    return _together(account, _used_since(tx, key, budgets, moment))


def _join(tx: Transaction, journal: Journal, key: AccountKey, used: _Used) -> None:
    """Let the account follow what becomes of the holds that were placed before its limit stood."""
    for hold in used.joining:
        tx.run("ledger.join_account", id=hold.id, account_ids=with_id(hold.account_ids, key.id))
        journal.add(model_kinds.HoldJoined(hold=hold.id, account=key.id))


def _note_overrun(journal: Journal, account_id: str, overrun: int) -> None:
    if overrun:
        why = "used before the limit"
        journal.add(kinds.AccountOverrun(account=account_id, overrun=overrun, why=why))


def _used_since(tx: Transaction, key: AccountKey, budgets: Budgets, moment: datetime) -> _Used:
    """Return what the scope has used of the period."""
    parts = scope_parts(key.scope)
    session_id = key.period_key if key.period is Period.SESSION else parts.get(SESSION)
    began_us = _began_at(tx, key, budgets, moment)
    filters = {
        "since": began_us,
        "session_id": session_id,
        **{kind: parts.get(kind) for kind in _NAMED},
    }
    by = next((kind for kind in _INDEXED if kind in parts), "scope")
    totals = tx.row(f"ledger.used_by_{by}", _Totals, **filters)
    assert totals is not None, "a sum always has a row"
    ended = Amounts(cost=totals.cost, tokens=totals.tokens, actions=totals.actions)
    known = ended.of(key.unit) + _retired_since(tx, key, began_us, session_id)
    settled = with_gaps(tx, key, began_us, known)
    if not totals.movable:
        return _Used(settled=settled, unit=key.unit)
    joining = [
        hold
        for hold in tx.rows("ledger.movable_holds", _Movable, **filters)
        if key.id not in split_ids(hold.account_ids)
    ]
    return _Used(settled=settled, unit=key.unit, joining=joining)


def _retired_since(tx: Transaction, key: AccountKey, began_us: int, session_id: str | None) -> int:
    """Return what was used of the period by holds that are exported and gone.

    Nothing is kept of that by session, which is over, nor by conversation, of which there are too
    many: a limit that is set later on one counts what is still in the store.
    """
    parts = scope_parts(key.scope)
    if session_id is not None or "conversation" in parts:
        return 0
    filters = {kind: parts.get(kind) for kind in _NAMED if kind != "conversation"}
    used = tx.row("retention.usage_since", Amounts, since=began_us, **filters)
    return 0 if used is None else used.of(key.unit)


def _began_at(tx: Transaction, key: AccountKey, budgets: Budgets, moment: datetime) -> int:
    if key.period is Period.SESSION:
        opened = tx.row("sessions.opened", _Moment, id=key.period_key)
        return 0 if opened is None else opened.at
    began = period_start(key.period, moment, timezone=budgets.timezone)
    return 0 if began is None else to_us(began)


def apply_limits(tx: Transaction, journal: Journal, budgets: Budgets) -> None:
    """Give every running account the limit that the config has for it now; nothing is refunded.

    One that the config has no more, or whose period is none of its timezone's, is laid down, so
    that it counts anew what was used without it, should it come back.
    """
    now, clock = to_us(journal.origin.at), _clock(tx)
    # Also those whose period only a clock that is ahead takes for over.
    for account in tx.rows("ledger.current_accounts", Account, now=min(now, clock)):
        budget = budgets.budget_of(account.scope, account.period, account.unit)
        is_over = account.resets_at is not None and account.resets_at <= now
        ends = {_ends_at(account, moment, budgets) for moment in (now, clock)}
        if budget is None or account.resets_at not in ends:
            tx.run("ledger.lay_down", id=account.id, now=min(now, clock))
        elif budget.limit_amount != account.limit_amount and not is_over:
            _set_limit(tx, journal, account, budget)
    moment = ledger_now(tx, journal.origin.at)
    for key in budgets.standing(moment):
        if find_account(tx, key.id) is not None:
            open_or_renew(tx, journal, key, budgets, moment)


def _ends_at(account: Account, moment: int, budgets: Budgets) -> int | None:
    period = Period(account.period)
    end = period_end(period, from_us(moment), timezone=budgets.timezone)
    return None if end is None else to_us(end)


def _set_limit(tx: Transaction, journal: Journal, account: Account, budget: Budget) -> None:
    limited = tx.row("ledger.set_limit", Account, id=account.id, limit_amount=budget.limit_amount)
    assert limited is not None, f"account {account.id} is gone"
    journal.add(
        kinds.AccountLimitChanged(
            account=account.id, before=account.limit_amount, limit_amount=budget.limit_amount
        )
    )
    if limited.overrun:
        journal.add(
            kinds.AccountOverrun(
                account=account.id, overrun=limited.overrun, why="its limit was lowered"
            )
        )


def ledger_now(tx: Transaction, now: datetime) -> datetime:
    """Return the moment by which periods count: `now`, or the ledger's clock if that is ahead."""
    return max(now, from_us(_clock(tx)))


def reset_ledger_clock(tx: Transaction, now: datetime) -> None:
    """Put the ledger's clock back to `now`: what was spent under it must have been carried."""
    tx.run("restore.reset_clock", now=to_us(now))


def _clock(tx: Transaction) -> int:
    row = tx.recall("ledger.clock", _Moment)
    assert row is not None, "the store has lost its ledger clock"
    return row.at
