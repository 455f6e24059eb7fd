"""The only code that moves money: reserve, then settle, release or forfeit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from supervisor.clock import from_us, to_us
from supervisor.errors import BudgetExceeded, CommandConflict
from supervisor.events import kinds
from supervisor.events.log import Journal
from supervisor.ledger.accounts import AccountKey, Amounts, Budgets, Unit
from supervisor.ledger.holds import (
    Account,
    Balance,
    Hold,
    HoldRequest,
    HoldStatus,
    Metering,
    find_account,
    find_hold,
    id_list,
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
    held = _hold_on(tx, keys, request.amounts)
    if not all(_is_as_configured(held.get(key.id), key) for key in keys):
        _undo(tx, held, request.amounts)
        for key in keys:
            open_or_renew(tx, journal, key, budgets, moment)
        held = _hold_on(tx, keys, request.amounts)
    hold = _open_hold(request, keys, moment)
    refused = next((key for key in keys if key.id not in held), None)
    # Kept only if the id is new: whoever asks again has taken nothing more from any account.
    if refused is None and _keep(tx, hold):
        for account in held.values():
            _warn_once(tx, journal, account, budgets.warn_ratio)
        journal.add(_placed(hold))
        return hold
    _undo(tx, held, request.amounts)
    before = find_hold(tx, request.id)
    if before is not None:
        return _same_hold(before, request)
    assert refused is not None, f"hold {request.id} is neither new nor known"
    return _refuse(tx, refused, request.amounts)


def _is_as_configured(held: Balance | None, key: AccountKey) -> bool:
    """Return whether a hold was placed on the account as the config has it now."""
    if held is None:
        return False
    return (held.limit_amount, held.resets_at) == (key.limit_amount, key.resets_at)


def _hold_on(tx: Transaction, keys: Sequence[AccountKey], amounts: Amounts) -> dict[str, Balance]:
    """Hold the amounts on every account where they fit, and return those by their id."""
    if not keys:
        return {}
    accounts = tx.rows(
        "ledger.hold_on_accounts",
        Balance,
        ids=id_list([key.id for key in keys]),
        cost=amounts.cost,
        tokens=amounts.tokens,
        actions=amounts.actions,
    )
    return {account.id: account for account in accounts}


def _undo(tx: Transaction, held: Collection[str], amounts: Amounts) -> None:
    if not held:
        return
    tx.run(
        "ledger.unhold_on_accounts",
        ids=id_list(list(held)),
        cost=amounts.cost,
        tokens=amounts.tokens,
        actions=amounts.actions,
    )


def _refuse(tx: Transaction, key: AccountKey, amounts: Amounts) -> BudgetExceeded:
    account = find_account(tx, key.id)
    assert account is not None, f"account {key.id} was opened before it refused"
    return refusal(account, amounts.of(key.unit))


def record_exhaustion(tx: Transaction, journal: Journal, refused: BudgetExceeded) -> None:
    """Record that an account is used up, once for each account and so for each period.

    One that only calls in flight fill is not used up yet.
    """
    if refused.may_free_up:
        return
    account = find_account(tx, refused.account)
    assert account is not None, f"account {refused.account} is gone"
    if tx.run("ledger.mark_exhausted", id=account.id, now=to_us(journal.origin.at)):
        journal.add(_exhausted(account))


def refusal(account: Account, needed: int) -> BudgetExceeded:
    """Return the refusal of a hold of `needed` on `account`."""
    return BudgetExceeded(
        account=account.id,
        unit=account.unit,
        needed=needed,
        free=account.free,
        resets_at=None if account.resets_at is None else from_us(account.resets_at),
        may_free_up=account.settled + needed <= account.limit_amount,
    )


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


def _keep(tx: Transaction, hold: Hold) -> bool:
    """Store the hold and return True, or return False where there is one with its id."""
    kept = tx.run(
        "ledger.place_hold",
        id=hold.id,
        boot_id=hold.boot_id,
        worker=hold.worker,
        session_id=hold.session_id,
        tick=hold.tick,
        model=hold.model,
        what=hold.what,
        account_ids=hold.account_ids,
        placed_at=hold.placed_at,
        cost_held=hold.cost_held,
        tokens_held=hold.tokens_held,
        actions_held=hold.actions_held,
        org=hold.org,
        team=hold.team,
        user_id=hold.user_id,
        conversation=hold.conversation,
    )
    return kept == 1


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
    turned = _turn(tx, journal, stored, HoldStatus.SETTLED, actual, why=why)
    assert turned is not None, f"hold {hold.id} was forfeited a moment ago, in this transaction"
    difference = Amounts(cost=cost - stored.cost_settled)
    _move(tx, journal, turned, held=Amounts(), settled=difference)
    journal.add(kinds.HoldReconciled(hold=hold.id, cost_before=stored.cost_settled, cost=cost))


def forfeit_open(
    tx: Transaction, journal: Journal, *, worker: str, tick: int, why: str
) -> list[Hold]:
    """Forfeit every hold that a tick has left open, and return them."""
    holds = tx.rows("ledger.open_holds_of_tick", Hold, worker=worker, tick=tick)
    for hold in holds:
        forfeit(tx, journal, hold, why=why)
    return holds


def _end(
    tx: Transaction, journal: Journal, hold: Hold, status: HoldStatus, actual: Amounts, *, why: str
) -> bool:
    """Move the money and return True, or return False if the hold has ended just so before."""
    turned = _turn(tx, journal, hold, status, actual, why=why)
    if turned is None:
        stored = find_hold(tx, hold.id)
        assert stored is not None, f"hold {hold.id} was never placed"
        _same(hold.id, "end", stored.status.value, status.value)
        _same(hold.id, "amounts", stored.settled, actual)
        return False
    _move(tx, journal, turned, held=hold.held, settled=actual)
    return True


class _Turned(msgspec.Struct, frozen=True):
    """A hold whose status was changed, and its accounts: some may have joined since."""

    id: str
    account_ids: str


def _turn(
    tx: Transaction, journal: Journal, hold: Hold, to: HoldStatus, actual: Amounts, *, why: str
) -> _Turned | None:
    """Give the hold another status, unless it has left the one that it is known by."""
    return tx.row(
        "ledger.turn_hold",
        _Turned,
        id=hold.id,
        before=hold.status,
        status=to,
        now=to_us(journal.origin.at),
        cost=actual.cost,
        tokens=actual.tokens,
        actions=actual.actions,
        why=why,
    )


def _move(
    tx: Transaction, journal: Journal, hold: _Turned, *, held: Amounts, settled: Amounts
) -> None:
    """Take `held` off what the hold's accounts hold, and add `settled` to what they have spent."""
    ids = hold.account_ids.split("\n")
    accounts = tx.rows(
        "ledger.move_on_accounts",
        Balance,
        ids=id_list(ids),
        cost_held=held.cost,
        tokens_held=held.tokens,
        actions_held=held.actions,
        cost=settled.cost,
        tokens=settled.tokens,
        actions=settled.actions,
    )
    assert len(accounts) == len(ids), f"hold {hold.id} has lost an account"
    for account in accounts:
        has_grown = settled.of(account.unit) > held.of(account.unit)
        if has_grown and account.used > account.limit_amount:
            excess = account.used - account.limit_amount
            why = "a call cost more than its hold"
            journal.add(kinds.AccountOverrun(account=account.id, overrun=excess, why=why))
