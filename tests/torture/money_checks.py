"""What must be true of the money in a store whose daemon has just been killed."""

from __future__ import annotations

import json
import re
from collections import Counter

from tests.e2e.billing_server import CHARGE, BillingServer
from tests.torture.looking import Look
from tests.torture.site import BILLED_AS, CAP_MICRO_USD, PAID

#: The bills of a model that costs nothing are counted, and are no money.
_FREE_BILLS = "free"
_REFUSED = re.compile(r"account (\S+): hold of ([\d.]+) USD refused, ([\d.]+) USD free")
#: What the cheapest call costs: while that much is free, somebody can still be served.
_CHEAPEST_MICRO_USD = 100

_CAP_ACCOUNT = (
    "SELECT settled, held FROM accounts"
    " WHERE scope = 'system' AND period = 'day' AND unit = 'micro_usd'"
)


def billed_by_name(billing: BillingServer) -> Counter[str]:
    """Return what was billed for each model, and for what is none."""
    billed: Counter[str] = Counter()
    for bill in billing.bills():
        if bill["model"] != _FREE_BILLS:
            billed[bill["model"]] += bill["micro_usd"]
    return billed


def check_money(look: Look, billing: BillingServer) -> None:
    """Assert that all that was billed is covered, and that all that is covered fits the caps."""
    billed = billed_by_name(billing)
    if not look.rows("SELECT 1 FROM holds LIMIT 1"):
        assert not billed, f"billed {billed} without a hold"
        return
    over = look.rows(
        "SELECT id, settled, held, limit_amount FROM accounts"
        " WHERE overrun <> 0 OR settled + held > limit_amount"
    )
    assert over == [], f"accounts above their limit: {over}"
    _check_cap(look, billed_micro_usd=billed.total())
    _check_models(look, billed)


def _check_cap(look: Look, *, billed_micro_usd: int) -> None:
    settled, held = look.numbers(_CAP_ACCOUNT)
    by_holds = look.numbers(
        "SELECT coalesce(sum(cost_settled), 0),"
        " coalesce(sum(CASE status WHEN 'open' THEN cost_held ELSE 0 END), 0) FROM holds"
    )
    assert (settled, held) == by_holds, f"the cap has {settled}, {held}; its holds {by_holds}"
    assert billed_micro_usd <= settled + held <= CAP_MICRO_USD, (
        f"billed {billed_micro_usd}, settled {settled}, held {held}, cap {CAP_MICRO_USD}"
    )


def _check_models(look: Look, billed: Counter[str]) -> None:
    rows = look.rows(
        "SELECT model, sum(CASE status WHEN 'settled' THEN cost_settled ELSE 0 END),"
        " sum(cost_settled + CASE status WHEN 'open' THEN cost_held ELSE 0 END)"
        " FROM holds GROUP BY model"
    )
    for model, *sums in rows:
        settled, covered = (int(str(column)) for column in sums)
        name = BILLED_AS.get(str(model))
        if name is None:
            assert covered == 0, f"{model} is free, and {covered} micro-USD were held for it"
            continue
        assert billed[name] <= covered, f"{model}: {billed[name]} billed, {covered} covered"
        # A thing that is bought without a word of its price is settled at its worst.
        is_exact = name != CHARGE
        assert not is_exact or settled <= billed[name], (
            f"{model}: {settled} settled, {billed[name]} billed"
        )


class _Balances:
    """What the events say of every account of money, up to one of them."""

    def __init__(self) -> None:
        self._limits: dict[str, int] = {}
        self._used: Counter[str] = Counter()
        self._held: dict[str, tuple[list[str], int]] = {}

    def take(self, kind: str, event: dict[str, object]) -> None:
        """Take one event in."""
        match kind:
            case "account_opened":
                self._limits[str(event["account"])] = int(str(event["limit_amount"]))
            case "hold_placed":
                self._place(event)
            case "call_refused":
                self._check_refusal(str(event["why"]))
            case _:
                accounts, cost = self._held.pop(str(event["hold"]))
                self._add(accounts, int(str(event.get("cost", 0))) - cost)

    def _place(self, event: dict[str, object]) -> None:
        names, cost = event["accounts"], int(str(event["cost"]))
        assert isinstance(names, list), names
        accounts = [name for name in names if name.endswith("micro_usd")]
        self._held[str(event["hold"])] = (accounts, cost)
        self._add(accounts, cost)

    def _add(self, accounts: list[str], cost: int) -> None:
        for account in accounts:
            self._used[account] += cost

    def _check_refusal(self, why: str) -> None:
        match = _REFUSED.match(why)
        if match is None:
            return
        account, needed, free = match[1], _micro_usd(match[2]), _micro_usd(match[3])
        left = self._limits[account] - self._used[account]
        assert free == left, f"{why}; by the events {left} micro-USD were free"
        assert needed > free, f"a phantom refusal: {why}"


def _micro_usd(usd: str) -> int:
    return round(float(usd) * 1_000_000)


def check_refusals(look: Look) -> int:
    """Assert that no hold was refused that fitted by the events before it; return the refusals."""
    balances = _Balances()
    refusals = 0
    for kind, payload in look.rows(
        "SELECT kind, payload FROM events WHERE kind IN ('account_opened', 'hold_placed',"
        " 'hold_settled', 'hold_released', 'hold_forfeited', 'call_refused') ORDER BY position"
    ):
        balances.take(str(kind), json.loads(str(payload)))
        refusals += kind == "call_refused"
    return refusals


def check_spent(look: Look) -> None:
    """Assert, of a campaign at its end, that every cent is accounted for and none is left."""
    still_open = look.names("SELECT id FROM holds WHERE status = 'open'")
    assert still_open == [], f"open after a clean stop: {still_open}"
    settled, held = look.numbers(_CAP_ACCOUNT)
    assert held == 0, f"{held} micro-USD are held by nobody"
    free = CAP_MICRO_USD - settled
    assert free < _CHEAPEST_MICRO_USD, f"all were refused with {free} micro-USD free"


def free_micro_usd(look: Look) -> int:
    """Return what the cap has left."""
    rows = look.rows(_CAP_ACCOUNT)
    return CAP_MICRO_USD - sum(int(str(column)) for row in rows for column in row)


def are_spent(look: Look) -> bool:
    """Return whether each worker that pays was refused by the cap itself at last."""
    refused = look.names(
        "SELECT name FROM workers, ticks WHERE worker = name AND number = last_tick"
        " AND outcome IN ('refused', 'skipped') AND ticks.why LIKE '%system/day%'"
    )
    return set(refused) >= set(PAID)
