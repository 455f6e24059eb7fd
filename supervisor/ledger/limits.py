"""Opening accounts, and giving them the limits of the config."""

from __future__ import annotations

from datetime import datetime

import msgspec

from supervisor.clock import from_us, to_us
from supervisor.events import kinds
from supervisor.events.log import Journal
from supervisor.ledger.accounts import QUARTER_S, AccountKey, Amounts, Budget, Budgets
from supervisor.ledger.gaps import with_gaps
from supervisor.ledger.holds import Account, find_account
from supervisor.storage.database import Transaction

_QUARTER_US = QUARTER_S * 1_000_000


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
    return max(now, from_us(before))


def open_if_new(
    tx: Transaction, journal: Journal, key: AccountKey, budgets: Budgets, moment: datetime
) -> bool:
    """Open the account if it does not exist, and return whether it was opened."""
    if find_account(tx, key.id) is not None:
        return False
    # A limit that was added today counts what its scope has used of today already.
    since = budgets.starts_at(key, moment)
    began_us = 0 if since is None else to_us(since)
    used = with_gaps(tx, key, began_us, _used_before(tx, key, since))
    resets_at = budgets.resets_at(key, moment)
    overrun = max(used - key.limit_amount, 0)
    tx.run(
        "ledger.open_account",
        id=key.id,
        scope=key.scope,
        period=key.period,
        period_key=key.period_key,
        unit=key.unit,
        limit_amount=key.limit_amount,
        settled=used,
        overrun=overrun,
        now=to_us(journal.origin.at),
        resets_at=None if resets_at is None else to_us(resets_at),
    )
    journal.add(kinds.AccountOpened(account=key.id, limit_amount=key.limit_amount, settled=used))
    if overrun:
        journal.add(
            kinds.AccountOverrun(account=key.id, overrun=overrun, why="used before the limit")
        )
    return True


def _used_before(tx: Transaction, key: AccountKey, since: datetime | None) -> int:
    if since is None:
        return 0
    kind, _, name = key.scope.partition(":")
    used = tx.row(
        "ledger.used_since",
        Amounts,
        since=to_us(since),
        worker=name if kind == "worker" else None,
        model=name if kind == "model" else None,
    )
    return 0 if used is None else used.of(key.unit)


def apply_limits(tx: Transaction, journal: Journal, budgets: Budgets) -> None:
    """Give every running account the limit that the config has for it now; nothing is refunded."""
    now = to_us(journal.origin.at)
    for account in tx.rows("ledger.current_accounts", Account, now=now):
        budget = budgets.budget_of(account.scope, account.period, account.unit)
        if budget is not None and budget.limit_amount != account.limit_amount:
            _set_limit(tx, journal, account, budget)


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
    row = tx.row("ledger.clock", _Moment)
    assert row is not None, "the store has lost its ledger clock"
    return row.at
