"""The only code that moves money: reserve, then settle, release or forfeit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from supervisor.clock import from_us, to_us
from supervisor.errors import BudgetExceeded, CommandConflict
from supervisor.events import kinds
from supervisor.events.log import Journal
from supervisor.ledger.accounts import AccountKey, Amounts, Budgets, Unit
from supervisor.ledger.exhaustion import note_exhaustion
from supervisor.ledger.hold_rows import find_before, hold_now, place, take_open_holds, turn
from supervisor.ledger.holds import (
    Account,
    Balance,
    Hold,
    HoldRequest,
    HoldStatus,
    Metering,
    balances_of,
    find_account,
    find_hold,
    keep_moves,
)
from supervisor.ledger.limits import ledger_moment, open_or_renew
from supervisor.storage.database import Transaction


def reserve(
    tx: Transaction, journal: Journal, request: HoldRequest, budgets: Budgets
) -> Hold | BudgetExceeded:
    """Place one hold on every account of the call, or on none.

    Asking again with the same id gives the first hold.

    Raises:
        CommandConflict: the id was used for a hold with other content.
    """
    moment = ledger_moment(tx, journal.origin.at)
    keys = budgets.accounts(request.call, moment)
    balances = balances_of(tx, [key.id for key in keys])
    if not _are_as_configured(balances, keys):
        for key in keys:
            open_or_renew(tx, journal, key, budgets, moment)
        balances = balances_of(tx, [key.id for key in keys])
    before = find_before(tx, request)
    if before is not None:
        return _same_hold(before, request)
    amounts = request.amounts
    for balance in balances:
        if not balance.fits(amounts.of(balance.unit)):
            return refusal(balance, amounts.of(balance.unit))
    for balance in balances:
        balance.hold(amounts.of(balance.unit))
    keep_moves(tx, balances)
    hold = _open_hold(request, keys, moment)
    place(tx, hold)
    for balance in balances:
        _warn_once(tx, journal, balance, budgets.warn_ratio)
    journal.add(_placed(hold))
    return hold


def _are_as_configured(balances: Sequence[Balance], keys: Sequence[AccountKey]) -> bool:
    """Return whether every account is there as the config has it now."""
    if len(balances) != len(keys):
        return False
    for balance, key in zip(balances, keys, strict=True):
        if (balance.limit_amount, balance.resets_at) != (key.limit_amount, key.resets_at):
            return False
    return True


def record_exhaustion(tx: Transaction, journal: Journal, refused: BudgetExceeded) -> None:
    """Record that an account is used up, once for each account and so for each period.

    One that only calls in flight fill is not used up yet.
    """
    if refused.may_free_up:
        return
    account = find_account(tx, refused.account)
    assert account is not None, f"account {refused.account} is gone"
    note_exhaustion(tx, journal, account)


def refusal(account: Account | Balance, needed: int) -> BudgetExceeded:
    """Return the refusal of a hold of `needed` on `account`."""
    return BudgetExceeded(
        account=account.id,
        unit=account.unit,
        needed=needed,
        free=account.free,
        resets_at=None if account.resets_at is None else from_us(account.resets_at),
        may_free_up=account.settled + needed <= account.limit_amount,
    )


def _warn_once(tx: Transaction, journal: Journal, account: Balance, warn_ratio: float) -> None:
    is_due = account.warned_at is None and account.used >= warn_ratio * account.limit_amount
    if not is_due or account.used == 0:
        return
    tx.run("ledger.mark_warned", id=account.id, now=to_us(journal.origin.at))
    journal.add(
        kinds.BudgetWarning(
            account=account.id,
            unit=account.unit,
            used=account.used,
            limit_amount=account.limit_amount,
        )
    )


def _open_hold(request: HoldRequest, accounts: Sequence[AccountKey], moment: datetime) -> Hold:
    amounts = request.amounts
    return Hold(
        id=request.id,
        boot_id=request.boot_id,
        worker=request.worker,
        session_id=request.session_id,
        tick=request.tick,
        model=request.model,
        what=request.what,
        account_ids="\n".join(key.id for key in accounts),
        placed_at=to_us(moment),
        cost_held=amounts.cost,
        tokens_held=amounts.tokens,
        actions_held=amounts.actions,
        status=HoldStatus.OPEN,
        cost_settled=0,
        tokens_settled=0,
        actions_settled=0,
        why="",
        org=request.identity.org or "",
        team=request.identity.team or "",
        user_id=request.identity.user or "",
        conversation=request.conversation,
    )


def _placed(hold: Hold) -> kinds.HoldPlaced:
    return kinds.HoldPlaced(
        hold=hold.id,
        model=hold.model,
        what=hold.what,
        accounts=tuple(hold.accounts),
        cost=hold.cost_held,
        tokens=hold.tokens_held,
        actions=hold.actions_held,
        org=hold.org,
        team=hold.team,
        user=hold.user_id,
        conversation=hold.conversation,
    )


def _same_hold(placed: Hold, request: HoldRequest) -> Hold:
    for field in ("worker", "session_id", "tick", "model", "what"):
        _same(placed.id, field, getattr(placed, field), getattr(request, field))
    asked = request.identity
    _same(placed.id, "org", placed.org, asked.org or "")
    _same(placed.id, "team", placed.team, asked.team or "")
    _same(placed.id, "user", placed.user_id, asked.user or "")
    _same(placed.id, "conversation", placed.conversation, request.conversation)
    for field in ("cost", "tokens", "actions"):
        _same(placed.id, field, getattr(placed.held, field), getattr(request.amounts, field))
    return placed


def _same(hold_id: str, field: str, before: object, now: object) -> None:
    if before != now:
        raise CommandConflict(
            subject=f"hold {hold_id}",
            what=f"has {field} {before!r}, asked for now with {now!r}; nothing was done",
            fix="use a fresh command id for another call",
        )


def settle(
    tx: Transaction, journal: Journal, hold: Hold, actual: Amounts, metering: Metering
) -> bool:
    """End a hold at what its call really used, and return whether that is within the hold.

    What was not used returns to the accounts. What was used above the hold is recorded in full,
    with an `account_overrun` event where it stands above a limit. Ending it again in the same
    way changes nothing.

    Raises:
        CommandConflict: the hold has ended in another way.
    """
    if _end(tx, journal, hold, HoldStatus.SETTLED, actual, why=""):
        journal.add(
            kinds.HoldSettled(
                hold=hold.id,
                model=hold.model,
                cost=actual.cost,
                tokens=actual.tokens,
                actions=actual.actions,
                input_tokens=metering.input_tokens,
                output_tokens=metering.output_tokens,
                duration_s=metering.duration_s,
                context=metering.context,
                saved=metering.saved,
            )
        )
    return all(actual.of(unit) <= hold.held.of(unit) for unit in Unit)


def release(tx: Transaction, journal: Journal, hold: Hold, *, why: str) -> None:
    """End a hold at nothing: it is known that nothing was sent, or that it was turned away.

    Raises:
        CommandConflict: the hold has ended in another way.
    """
    if _end(tx, journal, hold, HoldStatus.RELEASED, Amounts(), why=why):
        journal.add(kinds.HoldReleased(hold=hold.id, why=why))


def forfeit(tx: Transaction, journal: Journal, hold: Hold, *, why: str) -> None:
    """End a hold at its full amount: what its call used is unknown, so it counts as spent.

    Raises:
        CommandConflict: the hold has ended in another way.
    """
    amounts = hold.held
    if _end(tx, journal, hold, HoldStatus.FORFEITED, amounts, why=why):
        journal.add(
            kinds.HoldForfeited(
                hold=hold.id,
                model=hold.model,
                cost=amounts.cost,
                tokens=amounts.tokens,
                actions=amounts.actions,
                why=why,
            )
        )


def reconcile(tx: Transaction, journal: Journal, hold: Hold, cost: int) -> None:
    """Put a forfeited hold at what its call really cost, in micro-USD, in a person's name.

    The difference returns to, or is taken from, the accounts of the period in which the hold was
    placed. Doing it again with the same cost changes nothing.

    Raises:
        CommandConflict: the hold is not forfeited, or was put at another cost.
    """
    stored = find_hold(tx, hold.id)
    assert stored is not None, f"hold {hold.id} was never placed"
    if stored.status is HoldStatus.SETTLED:
        _same(hold.id, "cost", stored.cost_settled, cost)
        return
    _same(hold.id, "end", stored.status.value, HoldStatus.FORFEITED.value)
    actual = msgspec.structs.replace(stored.settled, cost=cost)
    why = f"reconciled by {journal.origin.actor}"
    turn(tx, stored, HoldStatus.SETTLED, actual, now_us=to_us(journal.origin.at), why=why)
    difference = Amounts(cost=cost - stored.cost_settled)
    _move(tx, journal, stored, held=Amounts(), settled=difference)
    journal.add(kinds.HoldReconciled(hold=hold.id, cost_before=stored.cost_settled, cost=cost))


def forfeit_open(
    tx: Transaction, journal: Journal, *, worker: str, tick: int, why: str
) -> list[Hold]:
    """Forfeit every hold that a tick has left open, and return them."""
    holds = take_open_holds(tx, worker, tick)
    for hold in holds:
        forfeit(tx, journal, hold, why=why)
    return holds


def _end(
    tx: Transaction, journal: Journal, hold: Hold, status: HoldStatus, actual: Amounts, *, why: str
) -> bool:
    """Move the money and return True, or return False if the hold has ended just so before."""
    stored = hold_now(tx, hold)
    if stored.status is not hold.status:
        _same(hold.id, "end", stored.status.value, status.value)
        _same(hold.id, "amounts", stored.settled, actual)
        return False
    turn(tx, stored, status, actual, now_us=to_us(journal.origin.at), why=why)
    _move(tx, journal, stored, held=hold.held, settled=actual)
    return True


def _move(
    tx: Transaction, journal: Journal, hold: Hold, *, held: Amounts, settled: Amounts
) -> None:
    """Take `held` off what the hold's accounts hold, and add `settled` to what they have spent."""
    balances = balances_of(tx, hold.accounts)
    assert len(balances) == len(hold.accounts), f"hold {hold.id} has lost an account"
    for balance in balances:
        off, on = held.of(balance.unit), settled.of(balance.unit)
        balance.end(held=off, settled=on)
        if on > off and balance.used > balance.limit_amount:
            excess = balance.used - balance.limit_amount
            why = "a call cost more than its hold"
            journal.add(kinds.AccountOverrun(account=balance.id, overrun=excess, why=why))
    keep_moves(tx, balances)
