"""Putting on record, once, that an account is used up."""

from __future__ import annotations

from supervisor.clock import to_us
from supervisor.events import kinds
from supervisor.events.log import Journal
from supervisor.ledger.accounts import Unit
from supervisor.ledger.holds import Account
from supervisor.storage.database import Transaction


def note_exhaustion(tx: Transaction, journal: Journal, account: Account) -> None:
    """Record that an account is used up, once for each account and so for each period."""
    if tx.run("ledger.mark_exhausted", id=account.id, now=to_us(journal.origin.at)):
        journal.add(_exhausted(account))


def _exhausted(account: Account) -> kinds.BudgetExhausted | kinds.TokenBudgetExhausted:
    if account.unit is Unit.TOKENS:
        return kinds.TokenBudgetExhausted(
            account=account.id, used=account.used, limit_amount=account.limit_amount
        )
    return kinds.BudgetExhausted(
        account=account.id,
        unit=account.unit,
        used=account.used,
        limit_amount=account.limit_amount,
    )
