"""The ledger's invariants under any interleaving (architecture.md, "The ledger")."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from supervisor.governance.audit import audit
from supervisor.ledger.accounts import Unit
from supervisor.ledger.holds import Account, Hold, find_account
from supervisor.ledger.periods import Period
from tests.unit.ledger.test_ledger import Till, budget, budgets

pytestmark = pytest.mark.timeout(300)

amounts = st.integers(min_value=0, max_value=400_000)


class LedgerMachine(RuleBasedStateMachine):
    """Reserves and ends holds, moves the clock both ways, and changes limits."""

    holds: Bundle[Hold] = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.till = Till(budgets())
        self.billed_by_day: dict[str, int] = {}
        self.latest_day = ""

    @rule(target=holds, cost=amounts)
    def reserve(self, cost: int) -> Hold | MultipleResults[Hold]:
        placed = self.till.reserve(cost)
        return placed if isinstance(placed, Hold) else multiple()

    @rule(hold=consumes(holds), share=st.floats(min_value=0, max_value=1))
    def settle_within(self, hold: Hold, share: float) -> None:
        assert self.till.settle(hold, int(hold.cost_held * share))

    @rule(hold=consumes(holds), extra=st.integers(min_value=1, max_value=300_000))
    def settle_above(self, hold: Hold, extra: int) -> None:
        assert not self.till.settle(hold, hold.cost_held + extra)

    @rule(hold=consumes(holds))
    def release(self, hold: Hold) -> None:
        self.till.release(hold)

    @rule(hold=consumes(holds), is_known_later=st.booleans(), share=st.floats(0, 1))
    def forfeit(self, hold: Hold, is_known_later: bool, share: float) -> None:
        self.till.forfeit(hold)
        if is_known_later:
            self.till.reconcile(hold, int(hold.cost_held * share))

    @rule(hours=st.integers(min_value=-30, max_value=30))
    def step_clock(self, hours: int) -> None:
        self.till.now += timedelta(hours=hours)

    @rule(cap=st.integers(min_value=0, max_value=2_000_000))
    def relimit(self, cap: int) -> None:
        hourly = budget("worker:w", Period.HOUR, Unit.MICRO_USD, cap // 2)
        self.till.relimit(budgets(hourly, cap=cap))

    @invariant()
    def no_account_is_above_its_limit_unless_an_overrun_names_the_excess(self) -> None:
        for account in self._accounts():
            assert account.held >= 0
            assert account.settled + account.held <= account.limit_amount + account.overrun

    @invariant()
    def held_is_the_sum_of_open_holds(self) -> None:
        (open_cost,) = self.till.store.connection.execute(
            "SELECT coalesce(sum(cost_held), 0) FROM holds WHERE status = 'open'"
        ).fetchone()
        days = [a.held for a in self._accounts() if a.scope == "system" and a.period == "day"]
        assert sum(days) == open_cost

    @invariant()
    def days_never_go_back(self) -> None:
        rows = self.till.store.connection.execute(
            "SELECT placed_at FROM holds ORDER BY CAST(substr(id, 2) AS INTEGER)"
        )
        placed = [at for (at,) in rows]
        assert placed == sorted(placed)

    def _accounts(self) -> list[Account]:
        ids = self.till.store.connection.execute("SELECT id FROM accounts").fetchall()
        found = [self.till.store.write(find_account, account_id) for (account_id,) in ids]
        return [account for account in found if account is not None]

    def teardown(self) -> None:
        report = self.till.store.write(audit)
        assert report.findings == (), report.findings
        self.till.store.close()


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLedger = LedgerMachine.TestCase
