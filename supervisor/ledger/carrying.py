"""Counting, after a restore, what is spent and has no hold in the store that was put back.

Beside ledger.py the only code that changes what an account has settled. It only ever raises it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from supervisor.clock import to_us
from supervisor.events import kinds, upkeep_kinds
from supervisor.events.log import Journal
from supervisor.ledger.accounts import Unit
from supervisor.ledger.gaps import Spent
from supervisor.ledger.holds import HoldStatus, find_account
from supervisor.storage.database import Transaction


class RunningAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account whose period goes on, as stored; `settled + held` is what is used of it."""

    id: str
    scope: str
    period: str
    period_key: str
    unit: Unit
    limit_amount: int
    settled: int
    held: int
    resets_at: int | None

    @property
    def used(self) -> int:
        return self.settled + self.held


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has used of a model on somebody's behalf, in every unit."""

    worker: str
    model: str
    cost: int
    tokens: int
    actions: int
    org: str = ""
    team: str = ""
    user_id: str = ""
    conversation: str = ""

    @property
    def whose(self) -> tuple[str, ...]:
        """Worker, model and on whose behalf: what tells it from the others."""
        return (self.worker, self.model, self.org, self.team, self.user_id, self.conversation)


def running_accounts(tx: Transaction, now_us: int) -> list[RunningAccount]:
    """Return the accounts whose period has not ended by `now_us`, ordered by id."""
    return tx.rows("restore.running_accounts", RunningAccount, now=now_us)


def used_since(tx: Transaction, since_us: int) -> list[Used]:
    """Return what each worker has used of each model since a moment, on whose behalf."""
    return tx.rows("restore.used_by_each", Used, since=since_us)


def raise_to(
    tx: Transaction, journal: Journal, account: RunningAccount, used: int, *, why: str
) -> bool:
    """Let `used` be counted on the account at least, opened where it is not there.

    Returns whether anything was changed.
    """
    stored = find_account(tx, account.id)
    if stored is None:
        _open(tx, journal, account, used)
        overrun = max(used - account.limit_amount, 0)
    elif used <= stored.used:
        return False
    else:
        settled = stored.settled + used - stored.used
        overrun = max(stored.overrun, used - stored.limit_amount)
        tx.run("restore.carry", id=account.id, settled=settled, overrun=overrun)
        journal.add(
            upkeep_kinds.AccountCarried(
                account=account.id, before=stored.settled, settled=settled, why=why
            )
        )
        overrun = overrun if overrun > stored.overrun else 0
    if overrun:
        journal.add(kinds.AccountOverrun(account=account.id, overrun=overrun, why=why))
    return True


def _open(tx: Transaction, journal: Journal, account: RunningAccount, used: int) -> None:
    tx.run(
        "ledger.open_account",
        id=account.id,
        scope=account.scope,
        period=account.period,
        period_key=account.period_key,
        unit=account.unit,
        limit_amount=account.limit_amount,
        settled=used,
        held=0,
        overrun=max(used - account.limit_amount, 0),
        now=to_us(journal.origin.at),
        resets_at=account.resets_at,
    )
    journal.add(
        kinds.AccountOpened(account=account.id, limit_amount=account.limit_amount, settled=used)
    )


def add_spent(
    tx: Transaction, journal: Journal, account: RunningAccount, spent: Spent, *, why: str
) -> bool:
    """Count `spent` on the account; what is not known counts as all that its limit allows."""
    amount = spent.of(account.unit)
    if amount is None:
        return raise_to(tx, journal, account, account.limit_amount, why=why)
    return raise_to(tx, journal, account, account.used + amount, why=why)


def carry_holds(
    tx: Transaction, journal: Journal, used: Sequence[Used], *, moment_us: int, why: str
) -> None:
    """Keep what workers have used as settled holds, for limits that are set later.

    They move no account: `raise_to` has counted them there already.
    """
    for one in used:
        hold_id = "/".join([journal.origin.command_id, *filter(None, one.whose)])
        amounts = {"cost": one.cost, "tokens": one.tokens, "actions": one.actions}
        tx.run(
            "ledger.place_hold",
            id=hold_id,
            boot_id="",
            worker=one.worker,
            session_id=journal.session_id,
            tick=0,
            model=one.model,
            what=why,
            account_ids="",
            placed_at=moment_us,
            cost_held=one.cost,
            tokens_held=one.tokens,
            actions_held=one.actions,
            org=one.org,
            team=one.team,
            user_id=one.user_id,
            conversation=one.conversation,
        )
        turned = tx.run(
            "ledger.turn_hold",
            id=hold_id,
            before=HoldStatus.OPEN,
            status=HoldStatus.SETTLED,
            now=to_us(journal.origin.at),
            why=why,
            **amounts,
        )
        assert turned == 1, f"hold {hold_id} was open a moment ago, in this transaction"
        journal.add(
            kinds.HoldPlaced(
                hold=hold_id,
                model=one.model,
                what=why,
                accounts=(),
                cost=one.cost,
                tokens=one.tokens,
                actions=one.actions,
                org=one.org,
                team=one.team,
                user=one.user_id,
                conversation=one.conversation,
            )
        )
        journal.add(kinds.HoldSettled(hold=hold_id, model=one.model, **amounts))
