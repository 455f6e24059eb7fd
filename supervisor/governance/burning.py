"""Who spends too fast for what its caps can bear: found in the ledger, and stopped by a breaker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import msgspec

from supervisor.clock import to_us
from supervisor.events.log import Origin
from supervisor.governance.breaker import (
    SYSTEM_BREAKER,
    BreakerRules,
    Cause,
    provider_breaker,
    provider_of,
    worker_breaker,
)
from supervisor.governance.breakers import trip
from supervisor.governance.rotation import open_session_of, system_journal
from supervisor.ledger.accounts import AccountKey, Budgets, Call, Unit
from supervisor.ledger.limits import ledger_now
from supervisor.ledger.periods import Period
from supervisor.money import to_usd
from supervisor.storage.database import Transaction

#: The window is looked at in so many parts, and as often...
PARTS = 5
#: ...and a rate that holds is one that was spent in so many of them: one burst is the cap's affair.
_PARTS_MIN = 3
_PERIODS_S = {
    Period.HOUR: 3_600.0,
    Period.DAY: 86_400.0,
    Period.WEEK: 7 * 86_400.0,
    Period.MONTH: 30 * 86_400.0,
}


class _Spent(msgspec.Struct, frozen=True):
    worker: str
    model: str
    part: int
    cost: int


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that is to open, and why."""

    name: str
    cause: Cause
    why: str


def find_burns(tx: Transaction, budgets: Budgets, rules: BreakerRules, now: datetime) -> list[Burn]:
    """Return the breakers that the spending of the last window opens, each once.

    A worker is judged by its own caps, and by the system's where it alone is too fast for them, so
    that its siblings go on; what the others spend together, by the system's. Spending from before a
    breaker closed, or of a worker whose breaker is not closed, has been judged.
    """
    if not (rules.rate_multiple or rules.open_ratio):
        return []
    moment = ledger_now(tx, now)
    part_us = max(round(rules.rate_window_s * 1_000_000) // PARTS, 1)
    spent = tx.rows("burning.spent", _Spent, since=to_us(moment) - PARTS * part_us, part=part_us)
    burns = {burn.name: burn for burn in _workers(tx, spent, budgets, rules, moment)}
    calm = [one for one in spent if worker_breaker(one.worker) not in burns]
    for burn in (*_system(calm, budgets, rules, moment), *_providers(calm, budgets, rules, moment)):
        burns.setdefault(burn.name, burn)
    return list(burns.values())


def stop_burns(tx: Transaction, budgets: Budgets, rules: BreakerRules, origin: Origin) -> list[str]:
    """Open the breakers of whoever spends too fast, and return their names."""
    burns = find_burns(tx, budgets, rules, origin.at)
    opened = []
    for burn in burns:
        with system_journal(tx, budgets.timezone, origin) as journal:
            if trip(tx, journal, burn.name, rules, cause=burn.cause, why=burn.why):
                opened.append(burn.name)
    return opened


def _workers(
    tx: Transaction,
    spent: Sequence[_Spent],
    budgets: Budgets,
    rules: BreakerRules,
    moment: datetime,
) -> Iterator[Burn]:
    for worker in sorted({one.worker for one in spent}):
        own = [one for one in spent if one.worker == worker]
        session = open_session_of(tx, worker)
        window_s = (session.window_end - session.window_start) / 1e6 if session else 0.0
        call = Call(worker=worker, session_id=session.id if session else "", model="")
        for key in _of_money(budgets.accounts(call, moment)):
            period_s = window_s if key.scope.startswith("session:") else _span_s(key)
            burn = _judge(worker_breaker(worker), own, key, period_s, rules)
            if burn is not None:
                yield burn


def _system(
    spent: Sequence[_Spent], budgets: Budgets, rules: BreakerRules, moment: datetime
) -> Iterator[Burn]:
    for key in _of_money(budgets.standing(moment)):
        if key.scope == "system":
            burn = _judge(SYSTEM_BREAKER, spent, key, _span_s(key), rules)
            if burn is not None:
                yield burn


def _providers(
    spent: Sequence[_Spent], budgets: Budgets, rules: BreakerRules, moment: datetime
) -> Iterator[Burn]:
    for key in _of_money(budgets.standing(moment)):
        kind, _, model = key.scope.partition(":")
        if kind == "model":
            own = [one for one in spent if one.model == model]
            name = provider_breaker(provider_of(model))
            burn = _judge(name, own, key, _span_s(key), rules)
            if burn is not None:
                yield burn


def _of_money(keys: Iterable[AccountKey]) -> Iterator[AccountKey]:
    return (key for key in keys if key.unit is Unit.MICRO_USD and key.limit_amount)


def _span_s(key: AccountKey) -> float:
    return _PERIODS_S.get(key.period, 0.0)


def _judge(
    name: str, spent: Sequence[_Spent], key: AccountKey, period_s: float, rules: BreakerRules
) -> Burn | None:
    """Judge spending by one cap; one without a period, or with a shorter one, says nothing."""
    window_s, cost = rules.rate_window_s, sum(one.cost for one in spent)
    if period_s <= window_s:
        return None
    share = cost / key.limit_amount
    said = f"{to_usd(cost):.6f} USD of {key.id} in {window_s:g} s"
    if rules.open_ratio and share >= rules.open_ratio:
        why = f"{said}: {share:.0%} of that cap, {rules.open_ratio:.0%} open it"
        return Burn(name=name, cause=Cause.SHARE, why=why)
    times = share * period_s / window_s
    is_lasting = len({one.part for one in spent if one.cost}) >= _PARTS_MIN
    if rules.rate_multiple and times > rules.rate_multiple and is_lasting:
        why = f"{said}: {times:.1f} x what it can sustain, {rules.rate_multiple:g} x open it"
        return Burn(name=name, cause=Cause.RATE, why=why)
    return None
