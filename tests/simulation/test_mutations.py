"""The simulator finds what is broken on purpose: each safety, taken out once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor import assembly
from supervisor.clock import to_us
from supervisor.errors import BudgetExceeded
from supervisor.events import kinds
from supervisor.governance import breaker, breakers, burning, gates, rotation
from supervisor.governance.breaker import BreakerRules
from supervisor.ledger import ledger
from supervisor.ledger.holds import find_account
from supervisor.maintenance import recovery
from supervisor.maintenance.burn_watch import BurnWatch
from supervisor.simulation import life
from supervisor.simulation.faults import FaultKind
from supervisor.simulation.scorecard import Scorecard
from supervisor.storage.database import Transaction
from supervisor.supervision import Intensity
from supervisor.worker import calls, records, schedule, state
from supervisor.worker.placing import Bid

FirstBroken = Callable[..., Scorecard | None]


def rule_broken_by(
    first_broken: FirstBroken, *only: FaultKind, days: float = 10.0, every_s: float = 1800.0
) -> str:
    card = first_broken(seeds_max=8, days=days, every_s=every_s, only=only)
    assert card is not None, "nothing was found"
    assert card.failure is not None
    return card.failure.rule


def test_a_spend_day_that_follows_the_wall_clock_back_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow_the_wall(tx: Transaction, now: datetime) -> datetime:
        tx.run("ledger.set_clock", now=to_us(now))
        return now

    monkeypatch.setattr(ledger, "ledger_moment", follow_the_wall)
    rule = rule_broken_by(first_broken, FaultKind.WALL_BACK_1H, every_s=600.0)
    assert rule in {"the spend day never goes back", "an account opens empty"}


def test_orphans_that_are_released_at_zero_are_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "ledger", SimpleNamespace(forfeit=ledger.release))
    assert rule_broken_by(first_broken) == "what was billed is not released"


def test_a_start_without_recovery_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object, **__: object) -> recovery.Findings:
        return recovery.Findings()

    monkeypatch.setattr(life, "recover", nothing)
    rule = rule_broken_by(first_broken)
    assert rule in {"recovery comes before traffic", "a worker runs one tick"}


def test_gates_without_the_kill_switch_are_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "applying", lambda *_, **__: None)
    assert rule_broken_by(first_broken) == "nothing starts under a kill"


def test_a_kill_that_does_not_reach_work_in_flight_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life.DaemonLife, "_notice", lambda _: _nothing())
    assert rule_broken_by(first_broken, FaultKind.KILL) == "a kill reaches work in flight"


async def _nothing() -> None:
    return


def test_a_session_that_outlives_its_window_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (rotation, records):
        monkeypatch.setattr(module, "is_due", lambda *_: False)
    assert rule_broken_by(first_broken) == "rotation at the boundary"


def test_a_hold_below_the_worst_case_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Bid.amounts

    def half(bid: Bid, output_tokens_max: int) -> object:
        return whole(bid, output_tokens_max // 2)

    monkeypatch.setattr(Bid, "amounts", half)
    assert rule_broken_by(first_broken) == "a hold covers the worst case"


def test_a_refusal_of_what_would_fit_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = ledger.reserve

    def wary(tx: Any, journal: Any, request: Any, budgets: Any) -> object:
        placed = reserve(tx, journal, request, budgets)
        if isinstance(placed, BudgetExceeded) or request.amounts.cost < 1_500:
            return placed
        ledger.release(tx, journal, placed, why="in doubt")
        account = find_account(tx, placed.accounts[0])
        assert account is not None
        return ledger.refusal(account, request.amounts.of(account.unit))

    monkeypatch.setattr(ledger, "reserve", wary)
    assert rule_broken_by(first_broken) == "no phantom refusal"


def test_a_lost_answer_that_is_settled_at_nothing_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        calls.Calls, "forfeit", lambda self, hold, *, why, **_: self.release(hold, why=why)
    )
    assert rule_broken_by(first_broken) == "what was billed is not released"


def test_a_worker_that_is_restarted_without_end_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Intensity(restarts_max=10**6, window_s=3600.0, delay_s=0.01, delay_max_s=300.0)
    monkeypatch.setattr(life, "build_intensity", lambda _: patient)
    # A breaker would open before a worker is restarted too often.
    monkeypatch.setattr(assembly, "build_breaker_rules", lambda _: BreakerRules())
    rule = rule_broken_by(first_broken, FaultKind.BAD_WORKER)
    assert rule == "restarts stay within intensity"


def test_a_breaker_that_lets_everybody_through_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "admits", lambda *_: None)
    assert rule_broken_by(first_broken, every_s=120.0) in {
        "nothing starts past an open breaker",
        "one probe at a time",
        "a breaker cools down",
    }


def test_a_breaker_that_never_lets_anybody_through_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker.Breaker, "is_due", lambda *_: False)
    assert rule_broken_by(first_broken, every_s=120.0) == "no phantom refusal"


def test_a_watch_of_spending_that_opens_nothing_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(_: BurnWatch) -> None:
        return

    monkeypatch.setattr(BurnWatch, "once", look)
    rule = rule_broken_by(first_broken, FaultKind.GREED, days=3.0, every_s=60.0)
    assert rule == "who spends too fast is stopped"


def test_a_breaker_that_is_never_opened_by_the_rate_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(burning, "trip", lambda *_, **__: False)
    rule = rule_broken_by(first_broken, FaultKind.GREED, days=3.0, every_s=60.0)
    assert rule == "who spends too fast is stopped"


def test_a_breaker_whose_probe_never_closes_it_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(tx: Any, journal: Any, found: Any, *_: Any, **__: Any) -> None:
        journal.add(kinds.BreakerClosed(name=found.name, why="a probe, it says"))

    monkeypatch.setattr(breakers, "_close", forget)
    assert rule_broken_by(first_broken, every_s=120.0) in {
        "no phantom refusal",
        "the audit is clean",
        "a closed breaker is not probed",
    }


def test_a_state_that_is_not_kept_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state.DurableState, "encode", lambda _: None)
    assert rule_broken_by(first_broken) == "state is durable"


def test_a_loop_that_does_not_wait_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule.Every, "next_delay_s", lambda *_: 1.0)
    assert rule_broken_by(first_broken) == "no busy loop"


def test_a_loop_that_oversleeps_is_found(
    first_broken: FirstBroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule.Every, "next_delay_s", lambda _, __: 1900.0)
    assert rule_broken_by(first_broken) == "a tick comes when it is due"
