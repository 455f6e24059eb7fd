"""The ledger's rules, one by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pytest

from supervisor.errors import BudgetExceeded, CommandConflict
from supervisor.events.log import Journal, Origin, Recorded
from supervisor.governance.rotation import SessionPlan, adopt_or_rotate
from supervisor.ledger import ledger
from supervisor.ledger.accounts import Amounts, Budget, Budgets, Unit
from supervisor.ledger.holds import Account, Hold, HoldRequest, Metering, find_account
from supervisor.ledger.limits import apply_limits
from supervisor.ledger.periods import Period
from supervisor.storage.database import Transaction
from tests.direct_store import DirectStore

P = ParamSpec("P")
T = TypeVar("T")

NOW = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)
DAY = "system/day/2026-06-01/micro_usd"


def budget(scope: str, period: Period, unit: Unit, limit: int) -> Budget:
    return Budget(scope=scope, period=period, unit=unit, limit_amount=limit)


def budgets(*more: Budget, cap: int = 1_000_000, session: int = 10_000_000) -> Budgets:
    return Budgets(
        [
            budget("system", Period.DAY, Unit.MICRO_USD, cap),
            budget("session", Period.SESSION, Unit.MICRO_USD, session),
            budget("session", Period.SESSION, Unit.ACTIONS, 1_000),
            *more,
        ],
        timezone=ZoneInfo("UTC"),
        warn_ratio=0.8,
    )


class Till:
    """A ledger with one session, and its calls in short."""

    def __init__(self, limits: Budgets) -> None:
        self.store = DirectStore()
        self.limits = limits
        self.now = NOW
        plan = SessionPlan(worker="w", span_s=86_400, timezone=ZoneInfo("UTC"))
        session = self.store.write(adopt_or_rotate, plan, self.origin())
        assert session is not None
        self.session_id = session.id
        self.count = 0

    def origin(self) -> Origin:
        return Origin(at=self.now, actor="test")

    def _journaled(
        self,
        function: Callable[Concatenate[Transaction, Journal, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def run(tx: Transaction) -> T:
            with Journal(tx, self.session_id, self.origin()) as journal:
                return function(tx, journal, *args, **kwargs)

        return self.store.write(run)

    def reserve(self, cost: int, *, hold_id: str = "", tokens: int = 0) -> Hold | BudgetExceeded:
        self.count += 1
        request = HoldRequest(
            id=hold_id or f"h{self.count}",
            boot_id="boot",
            worker="w",
            session_id=self.session_id,
            tick=1,
            model="p/m",
            what="test",
            amounts=Amounts(cost=cost, tokens=tokens, actions=1),
        )
        return self._journaled(ledger.reserve, request, self.limits)

    def held(self, cost: int) -> Hold:
        placed = self.reserve(cost)
        assert isinstance(placed, Hold)
        return placed

    def settle(self, hold: Hold, cost: int) -> bool:
        actual = Amounts(cost=cost, tokens=0, actions=1)
        return self._journaled(ledger.settle, hold, actual, Metering())

    def release(self, hold: Hold) -> None:
        self._journaled(ledger.release, hold, why="not sent")

    def forfeit(self, hold: Hold) -> None:
        self._journaled(ledger.forfeit, hold, why="unknown")

    def reconcile(self, hold: Hold, cost: int) -> None:
        self._journaled(ledger.reconcile, hold, cost)

    def exhaust(self, refusal: BudgetExceeded) -> None:
        self._journaled(ledger.record_exhaustion, refusal)

    def relimit(self, limits: Budgets) -> None:
        self.limits = limits
        self._journaled(apply_limits, limits)

    def account(self, account_id: str = DAY) -> Account:
        found = self.store.write(find_account, account_id)
        assert found is not None
        return found

    def kinds(self) -> list[str]:
        return [fact.event.kind for fact in self.store.published if isinstance(fact, Recorded)]


@pytest.fixture
def till() -> Iterator[Till]:
    opened = Till(budgets())
    yield opened
    opened.store.close()


def test_a_hold_takes_its_worst_case_and_settling_returns_the_rest(till: Till) -> None:
    hold = till.held(400_000)
    assert (till.account().settled, till.account().held) == (0, 400_000)
    assert till.settle(hold, 150_000)
    assert (till.account().settled, till.account().held) == (150_000, 0)


def test_exactly_the_limit_fits_and_one_micro_usd_more_does_not(till: Till) -> None:
    assert isinstance(till.reserve(1_000_001), BudgetExceeded)
    assert isinstance(till.reserve(1_000_000), Hold)
    refusal = till.reserve(1)
    assert isinstance(refusal, BudgetExceeded)
    assert refusal.account == DAY
    assert "0.00 USD free until 2026-06-02T00:00:00Z" in str(refusal)


def test_a_refused_hold_changes_no_account(till: Till) -> None:
    till.limits = budgets(budget("worker:w", Period.HOUR, Unit.MICRO_USD, 100))
    assert isinstance(till.reserve(200), BudgetExceeded)
    assert till.account().held == 0
    assert till.account(f"session:{till.session_id}/actions").held == 0


def test_a_limit_of_zero_blocks_every_paid_call_and_no_free_one() -> None:
    till = Till(budgets(cap=0))
    assert isinstance(till.reserve(1), BudgetExceeded)
    assert isinstance(till.reserve(0), Hold)
    till.store.close()


def test_an_actual_above_the_hold_is_recorded_in_full_and_names_the_excess(till: Till) -> None:
    hold = till.held(900_000)
    assert not till.settle(hold, 1_200_000)
    assert (till.account().settled, till.account().overrun) == (1_200_000, 200_000)
    assert "account_overrun" in till.kinds()
    assert isinstance(till.reserve(1), BudgetExceeded)


def test_a_released_hold_costs_nothing_and_a_forfeited_one_everything(till: Till) -> None:
    till.release(till.held(300_000))
    till.forfeit(till.held(200_000))
    assert (till.account().settled, till.account().held) == (200_000, 0)


def test_a_hold_ends_once(till: Till) -> None:
    hold = till.held(300_000)
    till.settle(hold, 100_000)
    till.settle(hold, 100_000)
    with pytest.raises(CommandConflict, match="amounts"):
        till.settle(hold, 100_001)
    with pytest.raises(CommandConflict, match="end"):
        till.release(hold)
    assert till.account().settled == 100_000
    assert till.kinds().count("hold_settled") == 1


def test_the_database_itself_refuses_to_end_a_hold_twice(till: Till) -> None:
    till.release(till.held(1))
    with pytest.raises(sqlite3.IntegrityError, match="ends once"):
        till.store.connection.execute("UPDATE holds SET status = 'settled'")


def test_the_database_itself_refuses_an_account_above_its_limit(till: Till) -> None:
    till.held(1)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        till.store.connection.execute("UPDATE accounts SET held = limit_amount + 1")


def test_the_same_id_gives_the_first_hold_and_other_content_an_error(till: Till) -> None:
    first = till.reserve(100, hold_id="h")
    assert till.reserve(100, hold_id="h") == first
    assert till.account().held == 100
    with pytest.raises(CommandConflict, match="cost 100, asked for now with 101"):
        till.reserve(101, hold_id="h")


def test_the_same_id_gives_the_first_hold_also_on_an_account_that_it_has_filled(till: Till) -> None:
    first = till.reserve(1_000_000, hold_id="h")
    assert till.reserve(1_000_000, hold_id="h") == first
    assert till.account().held == 1_000_000
    assert till.account().free == 0


def test_a_forfeited_hold_is_reconciled_to_what_it_cost(till: Till) -> None:
    hold = till.held(500_000)
    till.forfeit(hold)
    till.reconcile(hold, 20_000)
    till.reconcile(hold, 20_000)
    assert till.account().settled == 20_000
    with pytest.raises(CommandConflict):
        till.reconcile(hold, 30_000)


def test_only_a_forfeited_hold_is_reconciled(till: Till) -> None:
    hold = till.held(500_000)
    till.release(hold)
    with pytest.raises(CommandConflict, match="released"):
        till.reconcile(hold, 1)


def test_a_new_day_has_a_budget_of_its_own_and_the_old_hold_stays_in_its_day(till: Till) -> None:
    hold = till.held(900_000)
    till.now += timedelta(days=1)
    assert isinstance(till.reserve(1_000_000), Hold)
    till.settle(hold, 800_000)
    assert till.account().settled == 800_000
    assert till.account("system/day/2026-06-02/micro_usd").settled == 0


def test_a_clock_that_goes_back_gives_no_fresh_budget(till: Till) -> None:
    till.now += timedelta(days=1)
    till.settle(till.held(1_000_000), 1_000_000)
    till.now -= timedelta(days=1)
    refusal = till.reserve(1)
    assert isinstance(refusal, BudgetExceeded)
    assert refusal.account == "system/day/2026-06-02/micro_usd"


def test_a_limit_that_is_added_later_counts_what_its_period_has_used_already(till: Till) -> None:
    till.settle(till.held(70_000), 70_000)
    till.limits = budgets(budget("worker:w", Period.DAY, Unit.MICRO_USD, 100_000))
    assert isinstance(till.reserve(30_001), BudgetExceeded)
    assert isinstance(till.reserve(30_000), Hold)


def test_a_limit_that_is_added_later_does_not_count_another_scope_or_period(till: Till) -> None:
    till.settle(till.held(70_000), 70_000)
    till.now += timedelta(hours=1)
    till.limits = budgets(
        budget("worker:w", Period.HOUR, Unit.MICRO_USD, 50_000),
        budget("model:p/m", Period.HOUR, Unit.MICRO_USD, 50_000),
    )
    assert isinstance(till.reserve(50_000), Hold)


def test_a_lowered_limit_refunds_nothing_and_a_raised_one_frees(till: Till) -> None:
    till.settle(till.held(600_000), 600_000)
    till.relimit(budgets(cap=500_000))
    assert (till.account().settled, till.account().overrun) == (600_000, 100_000)
    assert isinstance(till.reserve(1), BudgetExceeded)
    till.relimit(budgets(cap=700_000))
    assert isinstance(till.reserve(100_000), Hold)


def test_a_warning_and_an_exhaustion_are_recorded_once_for_an_account(till: Till) -> None:
    till.held(799_999)
    assert "budget_warning" not in till.kinds()
    till.held(1)
    till.held(1)
    assert till.kinds().count("budget_warning") == 1
    till.settle(till.held(150_000), 150_000)
    for _ in range(3):
        refusal = till.reserve(900_000)
        assert isinstance(refusal, BudgetExceeded)
        till.exhaust(refusal)
    assert till.kinds().count("budget_exhausted") == 1


def test_a_refusal_says_whether_calls_in_flight_may_free_it_up(till: Till) -> None:
    hold = till.held(900_000)
    refusal = till.reserve(200_000)
    assert isinstance(refusal, BudgetExceeded)
    assert refusal.may_free_up
    till.settle(hold, 900_000)
    refusal = till.reserve(200_000)
    assert isinstance(refusal, BudgetExceeded)
    assert not refusal.may_free_up


def test_tokens_and_actions_are_limited_like_money(till: Till) -> None:
    till.limits = budgets(budget("system", Period.HOUR, Unit.TOKENS, 100))
    hold = till.reserve(0, tokens=100)
    assert isinstance(hold, Hold)
    till.forfeit(hold)
    refusal = till.reserve(0, tokens=1)
    assert isinstance(refusal, BudgetExceeded)
    assert refusal.unit == "tokens"
    till.exhaust(refusal)
    assert "token_budget_exhausted" in till.kinds()


def test_amounts_are_never_negative_in_the_store(till: Till) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        till.reserve(-1)


def test_an_event_carries_the_content_of_its_hold(till: Till) -> None:
    till.settle(till.held(400_000), 150_000)
    events = [fact.event for fact in till.store.published if isinstance(fact, Recorded)]
    placed, settled = events[-2:]
    assert msgspec.to_builtins(placed)["cost"] == 400_000
    assert msgspec.to_builtins(settled)["cost"] == 150_000
