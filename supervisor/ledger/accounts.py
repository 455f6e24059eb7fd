"""Which accounts a call is held on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import to_us
from supervisor.identity import NOBODY, Identity
from supervisor.ledger.periods import Period, period_end, period_key
from supervisor.ledger.scopes import SESSION, is_template, is_under, scope_for

#: Every period begins at a quarter of an hour of UTC, as every timezone's offset is one.
QUARTER_S = 900
_KNOWN_MAX = 4_096


class Unit(StrEnum):
    """What an account counts."""

    MICRO_USD = "micro_usd"
    TOKENS = "tokens"
    ACTIONS = "actions"


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a call costs in every unit: micro-USD, tokens, actions; none is negative."""

    cost: int = 0
    tokens: int = 0
    actions: int = 0

    def of(self, unit: Unit) -> int:
        """Return the amount in `unit`."""
        match unit:
            case Unit.MICRO_USD:
                return self.cost
            case Unit.TOKENS:
                return self.tokens
            case Unit.ACTIONS:
                return self.actions


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit from the config: what it is on, for how long, in which unit.

    `scope` is `system`, `session` for each session's own, or a kind with a name: `worker:`,
    `model:`, `conversation:`, `org:`, `team:`, `user:`, of which the last three can be joined by
    commas. The name `*` is each one's own.
    """

    scope: str
    period: Period
    unit: Unit
    limit_amount: int


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Whose call it is: what decides which budgets it falls under. Empty: of none."""

    worker: str
    session_id: str
    model: str
    identity: Identity = NOBODY
    conversation: str = ""


class AccountKey(msgspec.Struct, frozen=True, kw_only=True):
    """One account of one period: a budget at a moment; `resets_at` in microseconds, or never."""

    id: str
    scope: str
    period: Period
    period_key: str
    unit: Unit
    limit_amount: int
    resets_at: int | None


class Budgets:
    """The config's limits, all of which apply to whatever falls under their scope."""

    def __init__(self, budgets: Sequence[Budget], *, timezone: ZoneInfo, warn_ratio: float) -> None:
        self._budgets = tuple(budgets)
        self.timezone = timezone
        self.warn_ratio = warn_ratio
        self._known: dict[tuple[Call, int], list[AccountKey]] = {}

    def accounts(self, call: Call, moment: datetime) -> list[AccountKey]:
        """Return every account that a call at `moment` is held on, ordered by id.

        One order for all callers, so that a database with row locks can't deadlock.
        """
        asked = (call, int(moment.timestamp()) // QUARTER_S)
        keys = self._known.get(asked)
        if keys is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            keys = self._known[asked] = self._keys(call, moment)
        return keys

    def _keys(self, call: Call, moment: datetime) -> list[AccountKey]:
        keys: dict[str, AccountKey] = {}
        for budget in self._budgets:
            scope = scope_for(budget.scope, call)
            is_of_no_session = budget.period is Period.SESSION and not call.session_id
            if scope is None or is_of_no_session:
                continue
            key = self._key(budget, scope, call.session_id, moment)
            # Where two limits are on one account, both must pass: so the lower one.
            if key.id not in keys or key.limit_amount < keys[key.id].limit_amount:
                keys[key.id] = key
        return [keys[name] for name in sorted(keys)]

    def _key(self, budget: Budget, scope: str, session_id: str, moment: datetime) -> AccountKey:
        key = period_key(budget.period, moment, timezone=self.timezone, session_id=session_id)
        is_sessions_own = (budget.scope, budget.period) == (SESSION, Period.SESSION)
        middle = "" if is_sessions_own else f"/{budget.period}/{key}"
        resets_at = period_end(budget.period, moment, timezone=self.timezone)
        return AccountKey(
            id=f"{scope}{middle}/{budget.unit}",
            scope=scope,
            period=budget.period,
            period_key=key,
            unit=budget.unit,
            limit_amount=budget.limit_amount,
            resets_at=None if resets_at is None else to_us(resets_at),
        )

    def with_more(self, budgets: Sequence[Budget]) -> Budgets:
        """Return these limits and others."""
        more = (*self._budgets, *budgets)
        return Budgets(more, timezone=self.timezone, warn_ratio=self.warn_ratio)

    def standing(self, moment: datetime) -> list[AccountKey]:
        """Return the accounts at `moment` that are of no session, ordered by id."""
        keys = [
            self._key(budget, budget.scope, "", moment)
            for budget in self._budgets
            if not is_template(budget.scope) and budget.period is not Period.SESSION
        ]
        return sorted(keys, key=lambda key: key.id)

    def daily_cap(self, moment: datetime) -> AccountKey:
        """Return the account that is the spend cap: the whole daemon's, for one day."""
        cap = self.budget_of("system", Period.DAY, Unit.MICRO_USD)
        assert cap is not None, "a config without a daily cap is refused"
        return self._key(cap, cap.scope, "", moment)

    def budget_of(self, scope: str, period: str, unit: Unit) -> Budget | None:
        """Return the limit that an account with this scope, period and unit stands under."""
        found = [
            budget
            for budget in self._budgets
            if (budget.period, budget.unit) == (period, unit) and is_under(scope, budget.scope)
        ]
        return min(found, key=lambda budget: budget.limit_amount, default=None)
