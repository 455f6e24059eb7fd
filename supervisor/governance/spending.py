"""What every running account has, in numbers for people and programs."""

from __future__ import annotations

from datetime import datetime

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.ledger.accounts import AccountKey, Budgets, Call, Unit
from supervisor.ledger.holds import Account
from supervisor.ledger.limits import ledger_now
from supervisor.ledger.periods import Period
from supervisor.money import to_usd
from supervisor.storage.database import Transaction

_NOBODY = Call(worker="", session_id="", model="")


class AccountStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An account of the present period.

    `limit`, `settled`, `held`, `free` and `overrun` are in `unit`; those in USD are None for an
    account that does not count money. `is_open` is False before the period's first hold.
    """

    id: str
    scope: str
    period: str
    unit: Unit
    limit: int
    settled: int = 0
    held: int = 0
    free: int
    overrun: int = 0
    limit_usd: float | None = None
    settled_usd: float | None = None
    held_usd: float | None = None
    free_usd: float | None = None
    resets_at: str | None = None
    is_open: bool = True


def read_accounts(tx: Transaction, now: datetime, budgets: Budgets) -> list[AccountStatus]:
    """Return every account whose period goes on, the system's own in any case, ordered by id."""
    moment = ledger_now(tx, now)
    rows = tx.rows("ledger.current_accounts", Account, now=to_us(moment))
    statuses = {row.id: _opened(row) for row in rows}
    for key in budgets.accounts(_NOBODY, moment):
        if key.scope == "system" and key.period is not Period.SESSION and key.id not in statuses:
            statuses[key.id] = _not_opened(key)
    return [statuses[account_id] for account_id in sorted(statuses)]


def _opened(account: Account) -> AccountStatus:
    return _with_usd(
        AccountStatus(
            id=account.id,
            scope=account.scope,
            period=account.period,
            unit=account.unit,
            limit=account.limit_amount,
            settled=account.settled,
            held=account.held,
            free=account.free,
            overrun=account.overrun,
            resets_at=None if account.resets_at is None else iso(from_us(account.resets_at)),
        )
    )


def _not_opened(key: AccountKey) -> AccountStatus:
    return _with_usd(
        AccountStatus(
            id=key.id,
            scope=key.scope,
            period=key.period,
            unit=key.unit,
            limit=key.limit_amount,
            free=key.limit_amount,
            resets_at=None if key.resets_at is None else iso(from_us(key.resets_at)),
            is_open=False,
        )
    )


def _with_usd(account: AccountStatus) -> AccountStatus:
    if account.unit is not Unit.MICRO_USD:
        return account
    return msgspec.structs.replace(
        account,
        limit_usd=to_usd(account.limit),
        settled_usd=to_usd(account.settled),
        held_usd=to_usd(account.held),
        free_usd=to_usd(account.free),
    )
