"""How risky an action is, and what a session's actions add up to: pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from supervisor.errors import text_of
from supervisor.governance.proposals import Proposal

#: How many of a session's last actions its patterns look at (governance.md).
RECENT_MAX = 10
#: Where other distributions register an assessor of their own.
ASSESSORS = "supervisor.risk_assessors"


class Risk(StrEnum):
    """Three levels, of an action or of a session."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        return _RANKS[self]

    def is_at_most(self, other: Risk) -> bool:
        return self.rank <= other.rank


_RANKS = {Risk.LOW: 0, Risk.MEDIUM: 1, Risk.HIGH: 2}


def highest(*risks: Risk) -> Risk:
    """Return the highest of some levels."""
    return max(risks, key=lambda risk: risk.rank)


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of the builtin assessment; weights are percentages, scores 0 to 1."""

    max_weight_pct: float = 5.0
    min_score: float = 0.7
    high_risk_score: float = 0.5


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """How risky a proposal is, and why."""

    risk: Risk
    why: str


class Assessor(Protocol):
    """Assesses a proposal; another one is named in the config by its entry point."""

    def __call__(self, proposal: Proposal, /, *, is_known_asset: bool) -> Assessment:
        """Return the risk; an exception counts as high."""
        ...


class BuiltinAssessor:
    """Low for a known asset, a weight within its limit and a sure score; high beyond the limits."""

    def __init__(self, limits: RiskLimits) -> None:
        self._limits = limits

    def __call__(self, proposal: Proposal, *, is_known_asset: bool) -> Assessment:
        """Return the risk by governance.md's rule."""
        limits = self._limits
        if proposal.weight > limits.max_weight_pct:
            why = f"its weight {proposal.weight:g} is above {limits.max_weight_pct:g}"
            return Assessment(risk=Risk.HIGH, why=why)
        if proposal.score < limits.high_risk_score:
            why = f"its score {proposal.score:g} is below {limits.high_risk_score:g}"
            return Assessment(risk=Risk.HIGH, why=why)
        if not is_known_asset:
            why = f"{proposal.resource or 'no resource'} is no known asset"
            return Assessment(risk=Risk.MEDIUM, why=why)
        if proposal.score < limits.min_score:
            why = f"its score {proposal.score:g} is below {limits.min_score:g}"
            return Assessment(risk=Risk.MEDIUM, why=why)
        return Assessment(risk=Risk.LOW, why="a known asset, within its limits")


def assess(assessor: Assessor, proposal: Proposal, *, is_known_asset: bool) -> Assessment:
    """Return the assessor's answer, high where it has none."""
    try:
        answer: object = assessor(proposal, is_known_asset=is_known_asset)
    except Exception as error:  # noqa: BLE001 - somebody else's code: in doubt, high
        return Assessment(risk=Risk.HIGH, why=f"the assessor failed: {text_of(error)}")
    if isinstance(answer, Assessment):
        return answer
    return Assessment(risk=Risk.HIGH, why=f"the assessor answered {type(answer).__name__}")


class SessionRiskRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a session's actions count, from where it is risky, and which orders of them are."""

    low: int = 1
    medium: int = 3
    high: int = 5
    medium_from: int = 5
    high_from: int = 10
    patterns: tuple[tuple[str, ...], ...] = ()

    def points(self, risk: Risk) -> int:
        """Return what an action of that risk counts."""
        return {Risk.LOW: self.low, Risk.MEDIUM: self.medium, Risk.HIGH: self.high}[risk]

    def level(self, points: int) -> Risk:
        """Return the level that so many points are."""
        if points >= self.high_from:
            return Risk.HIGH
        return Risk.MEDIUM if points >= self.medium_from else Risk.LOW


class SessionRisk(msgspec.Struct, frozen=True, kw_only=True):
    """What a session's actions add up to; it only goes up."""

    points: int = 0
    level: Risk = Risk.LOW
    recent: tuple[str, ...] = ()


def matched(patterns: Sequence[Sequence[str]], actions: Sequence[str]) -> Sequence[str] | None:
    """Return the first pattern whose actions stand in that order among `actions`, ending there.

    Others may stand in between. Only a pattern that the last action completes is meant: one that
    was completed before has had its effect.
    """
    for pattern in patterns:
        if pattern and actions and pattern[-1] == actions[-1] and _stands_in(pattern, actions):
            return pattern
    return None


def _stands_in(pattern: Sequence[str], actions: Sequence[str]) -> bool:
    rest = iter(actions)
    return all(any(action == wanted for action in rest) for wanted in pattern)


def completes(rules: SessionRiskRules, before: SessionRisk, action: str) -> Sequence[str] | None:
    """Return the pattern that `action` would complete in the session."""
    return matched(rules.patterns, (*before.recent, action)[-RECENT_MAX:])


def accumulated(
    rules: SessionRiskRules, before: SessionRisk, action: str, risk: Risk
) -> SessionRisk:
    """Return the session's risk with one action more."""
    points = before.points + rules.points(risk)
    level = highest(before.level, rules.level(points))
    if completes(rules, before, action):
        level = Risk.HIGH
    return SessionRisk(points=points, level=level, recent=(*before.recent, action)[-RECENT_MAX:])
