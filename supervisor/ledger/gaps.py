"""What was spent and is not in the store, because an older one was put back."""

from __future__ import annotations

from datetime import datetime

import msgspec

from supervisor.clock import to_us
from supervisor.ledger.accounts import AccountKey, Unit
from supervisor.ledger.periods import Period
from supervisor.storage.database import Transaction


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent in every unit; an amount that is None is not known."""

    cost: int | None = None
    tokens: int | None = None
    actions: int | None = None

    def of(self, unit: Unit) -> int | None:
        """Return the amount in `unit`, None where it is not known."""
        match unit:
            case Unit.MICRO_USD:
                return self.cost
            case Unit.TOKENS:
                return self.tokens
            case Unit.ACTIONS:
                return self.actions


class _Moment(msgspec.Struct, frozen=True):
    at: int


def keep_gap(
    tx: Transaction, gap_id: str, spent: Spent, *, began: datetime, ended: datetime
) -> None:
    """Remember that `spent`, between two moments, is not in this store."""
    tx.run(
        "restore.keep_gap",
        id=gap_id,
        began_at=to_us(began),
        ended_at=to_us(ended),
        cost=spent.cost,
        tokens=spent.tokens,
        actions=spent.actions,
    )


def with_gaps(tx: Transaction, key: AccountKey, began_us: int, used: int) -> int:
    """Return what a new account starts with: `used`, and every gap that reaches into its period.

    Nobody knows whose spending it was, so that each account of the period counts it whole; an
    amount that is not known counts as all that the limit allows. `began_us` is when the period
    began, 0 for one that the clock does not begin.
    """
    if key.period is Period.SESSION:
        window = tx.row("restore.window_start", _Moment, id=key.period_key)
        began_us = 0 if window is None else window.at
    for gap in tx.rows("restore.gaps_since", Spent, since=began_us):
        amount = gap.of(key.unit)
        used = max(used, key.limit_amount) if amount is None else used + amount
    return used
