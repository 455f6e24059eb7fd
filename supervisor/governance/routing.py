"""Which class of models a call is to use: pure, from the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase

import msgspec

from supervisor.ledger.accounts import Budgets, Call, Unit
from supervisor.ledger.limits import ledger_now, used_of
from supervisor.storage.database import Transaction

#: What a worker may ask for instead of a model.
CLASSES = ("cheap", "balanced", "best")


class RouteRule(msgspec.Struct, frozen=True, kw_only=True):
    """When a call of some class is to use another; a condition of None holds always.

    `budget_left_max` is the share that is free of the shortest account of money.
    """

    use: str
    asked: str | None = None
    purpose: str = "*"
    input_tokens_min: int | None = None
    input_tokens_max: int | None = None
    budget_left_max: float | None = None

    def is_on(self, ask: Ask) -> bool:
        """Return whether every condition holds."""
        return (
            self.asked in (None, ask.asked)
            and fnmatchcase(ask.purpose, self.purpose)
            and (self.input_tokens_min is None or ask.input_tokens >= self.input_tokens_min)
            and (self.input_tokens_max is None or ask.input_tokens <= self.input_tokens_max)
            and (self.budget_left_max is None or ask.budget_left <= self.budget_left_max)
        )


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A call that asks for a class; `input_tokens` is a bound, `budget_left` a share."""

    asked: str
    purpose: str
    input_tokens: int
    budget_left: float = 1.0


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """The models of each class, and the rules, of which the first that is on a call decides."""

    classes: Mapping[str, Sequence[str]]
    rules: Sequence[RouteRule] = ()

    @property
    def needs_budget(self) -> bool:
        """Whether any rule asks how much is left."""
        return any(rule.budget_left_max is not None for rule in self.rules)

    def use(self, ask: Ask) -> tuple[str, int]:
        """Return the class to use, and the number of the rule that says so, 0 for none."""
        for number, rule in enumerate(self.rules, start=1):
            if rule.is_on(ask):
                return rule.use, number
        return ask.asked, 0


def budget_left(tx: Transaction, call: Call, budgets: Budgets, now: datetime) -> float:
    """Return which share is free of the shortest account of money that a call falls under."""
    moment = ledger_now(tx, now)
    shares = [1.0]
    for key in budgets.accounts(call, moment):
        if key.unit is Unit.MICRO_USD:
            used = sum(used_of(tx, key, budgets, moment))
            shares.append(max(1 - used / key.limit_amount, 0.0) if key.limit_amount else 0.0)
    return min(shares)
