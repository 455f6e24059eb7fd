"""Condition trees: and, or, not over what is known of a proposal, with short circuit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

from supervisor.governance.evaluators import Verdict
from supervisor.governance.proposals import Proposal
from supervisor.governance.risk import Risk


@dataclass(frozen=True, slots=True)
class RiskAtMost:
    """The risk is at most this."""

    risk: Risk


@dataclass(frozen=True, slots=True)
class WeightAtMost:
    """The weight is at most this."""

    weight: float


@dataclass(frozen=True, slots=True)
class ScoreAtLeast:
    """The score is at least this."""

    score: float


@dataclass(frozen=True, slots=True)
class ActionIs:
    """The action's name fits one of these patterns."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AssetIs:
    """The resource fits one of these patterns."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EvaluatorAllows:
    """The evaluator of this name allows the proposal."""

    name: str


@dataclass(frozen=True, slots=True)
class And:
    """All of them hold; those after the first that does not are not looked at."""

    children: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of them holds; those after the first that does are not looked at."""

    children: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    child: Condition


Leaf: TypeAlias = RiskAtMost | WeightAtMost | ScoreAtLeast | ActionIs | AssetIs
Condition: TypeAlias = Leaf | EvaluatorAllows | And | Or | Not
Ask: TypeAlias = Callable[[str], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a tree is evaluated on; `ask` has an evaluator's verdict by its name."""

    proposal: Proposal
    risk: Risk
    ask: Ask


class EvaluatorFailed(Exception):
    """An evaluator in a tree failed: the whole tree does not hold, also where a `not` is above."""


def evaluators_in(condition: Condition) -> set[str]:
    """Return the names of the evaluators that the tree may ask."""
    match condition:
        case And(children) | Or(children):
            return set[str]().union(*(evaluators_in(child) for child in children))
        case Not(child):
            return evaluators_in(child)
        case EvaluatorAllows(name):
            return {name}
        case _:
            return set()


async def holds(condition: Condition, facts: Facts) -> bool:
    """Return whether the tree holds, asking no evaluator that can't change that."""
    try:
        return await _holds(condition, facts)
    except EvaluatorFailed:
        return False


async def _holds(condition: Condition, facts: Facts) -> bool:
    match condition:
        case And(children):
            return not await _any_is(children, facts, found=False)
        case Or(children):
            return await _any_is(children, facts, found=True)
        case Not(child):
            return not await _holds(child, facts)
        case EvaluatorAllows(name):
            return await _allows(name, facts)
        case _:
            return _leaf_holds(condition, facts)


async def _any_is(children: tuple[Condition, ...], facts: Facts, *, found: bool) -> bool:
    """Return whether one of them is `found`, looking no further than the first that is."""
    for child in children:
        if await _holds(child, facts) is found:
            return True
    return False


async def _allows(name: str, facts: Facts) -> bool:
    verdict = await facts.ask(name)
    if verdict.has_failed:
        raise EvaluatorFailed(verdict.why)
    return verdict.is_allowed


def _leaf_holds(leaf: Leaf, facts: Facts) -> bool:
    match leaf:
        case RiskAtMost(risk):
            return facts.risk.is_at_most(risk)
        case WeightAtMost(weight):
            return facts.proposal.weight <= weight
        case ScoreAtLeast(score):
            return facts.proposal.score >= score
        case ActionIs(patterns):
            return fits(facts.proposal.action, patterns)
        case AssetIs(patterns):
            return fits(facts.proposal.resource, patterns)


def fits(name: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a name fits one of the patterns: `*`, `?` and `[...]`, case as written."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
