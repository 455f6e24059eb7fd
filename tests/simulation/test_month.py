"""Months with every misfortune: no invariant breaks, and nothing of it is a month without news."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.config import Loaded
from supervisor.simulation.faults import FaultKind
from supervisor.simulation.runs import simulate_seeds
from supervisor.simulation.scorecard import Scorecard
from supervisor.simulation.world import Settings, simulate

DAYS = 30.0

#: Seldom, or no fault of the daemon's surroundings: not every few months have one.
_RARE = {
    FaultKind.WALL_FORWARD_10Y,
    FaultKind.WALL_BACK_10Y,
    FaultKind.VISIT,
}


def months(path: Path, seeds: range) -> list[Scorecard]:
    cards = list(simulate_seeds(path, Settings(seed=0, days=DAYS), seeds))
    broken = [(card.seed, card.failure) for card in cards if card.failure is not None]
    assert broken == []
    return cards


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("on_cap", "seeds"), [("wait", range(1, 13)), ("ask", range(13, 17)), ("stop", range(17, 21))]
)
def test_no_invariant_breaks_in_a_month_of_misfortune(
    write_config: Callable[..., Path], on_cap: str, seeds: range
) -> None:
    cards = months(write_config(on_cap=on_cap), seeds)
    faults = sum((Counter(card.faults) for card in cards), Counter[str]())
    refusals = sum((Counter(card.refusals) for card in cards), Counter[str]())
    checks = sum((Counter(card.checks) for card in cards), Counter[str]())
    # What never happens is not shown to be survived.
    assert {kind for kind in FaultKind if kind not in _RARE} <= set(faults)
    codes = {"budget_exceeded", "kill_switch_engaged", "session_not_active", "breaker_open"}
    assert codes <= set(refusals)
    assert min(checks.values()) > 0
    for rule in ("no phantom refusal", "billed <= cap", "a kill reaches work in flight"):
        assert checks[rule] > len(cards)
    assert all(card.recovered_ticks and card.rotations and card.kills for card in cards)
    assert any(day.settled >= day.limit * 0.9 for card in cards for day in card.spend)


def test_a_month_without_faults_ticks_on_time_and_within_its_cap(loaded: Loaded) -> None:
    card = simulate(loaded, Settings(seed=1, days=4.0, has_faults=False))
    assert card.failure is None
    assert card.faults == {}
    assert card.lives == 1
    # Every 30 minutes of four days, twice; a tick of `hourly` takes some seconds of each.
    assert 370 <= sum(card.ticks.values()) <= 386
    assert all(day.billed <= day.settled <= day.limit for day in card.spend)


def test_a_model_without_a_price_is_said_and_not_called(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    from supervisor.config import NothingMissing, load

    path = write_config()
    lines = path.read_text(encoding="utf-8").splitlines()
    unpriced = "\n".join(line for line in lines if not line.startswith("price"))
    path.write_text(unpriced, encoding="utf-8")
    card = simulate(load(path, NothingMissing()), Settings(seed=1, days=1.0, has_faults=False))
    assert card.failure is None
    assert card.refusals["price_unknown"] > 0
    assert any("price is unknown" in note for note in card.notes)
