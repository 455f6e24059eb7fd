"""Condition trees: what holds, and which evaluators are not even asked."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.governance.conditions import (
    ActionIs,
    And,
    AssetIs,
    Condition,
    EvaluatorAllows,
    Facts,
    Not,
    Or,
    RiskAtMost,
    ScoreAtLeast,
    WeightAtMost,
    evaluators_in,
    holds,
)
from supervisor.governance.evaluators import Verdict
from supervisor.governance.proposals import Proposal
from supervisor.governance.risk import Risk

PROPOSAL = Proposal(action="tag_issue", resource="issue:7", weight=2.0, score=0.8)
YES, NO = ScoreAtLeast(0.0), ScoreAtLeast(1.0)


class Judges:
    """Evaluators that say what a test tells them, and remember who was asked."""

    def __init__(self, **verdicts: Verdict) -> None:
        self._verdicts = verdicts
        self.asked: list[str] = []

    async def ask(self, name: str) -> Verdict:
        self.asked.append(name)
        return self._verdicts[name]


def facts(judges: Judges | None = None, risk: Risk = Risk.MEDIUM) -> Facts:
    return Facts(proposal=PROPOSAL, risk=risk, ask=(judges or Judges()).ask)


def answer(condition: Condition, judges: Judges | None = None) -> bool:
    async def ask() -> bool:
        return await holds(condition, facts(judges))

    return anyio.run(ask)


@pytest.mark.parametrize(
    ("leaf", "holds"),
    [
        (RiskAtMost(Risk.MEDIUM), True),
        (RiskAtMost(Risk.LOW), False),
        (WeightAtMost(2.0), True),
        (WeightAtMost(1.9), False),
        (ScoreAtLeast(0.8), True),
        (ScoreAtLeast(0.81), False),
        (ActionIs(("tag_*",)), True),
        (ActionIs(("Tag_*", "merge")), False),
        (AssetIs(("pr:*", "issue:[0-9]")), True),
        (AssetIs(("issue",)), False),
    ],
)
def test_a_leaf_holds_at_its_limit_and_not_beyond(leaf: Condition, holds: bool) -> None:
    assert answer(leaf) is holds


TREES = st.recursive(
    st.sampled_from([(YES, True), (NO, False)]),
    lambda below: st.one_of(
        st.lists(below, min_size=1, max_size=3).map(
            lambda found: (And(tuple(one for one, _ in found)), all(is_so for _, is_so in found))
        ),
        st.lists(below, min_size=1, max_size=3).map(
            lambda found: (Or(tuple(one for one, _ in found)), any(is_so for _, is_so in found))
        ),
        below.map(lambda found: (Not(found[0]), not found[1])),
    ),
    max_leaves=12,
)


@given(TREES)
def test_a_tree_is_what_logic_says_that_it_is(tree: tuple[Condition, bool]) -> None:
    condition, expected = tree
    assert answer(condition) is expected


def test_what_can_not_change_the_answer_is_not_asked() -> None:
    judges = Judges(a=Verdict(is_allowed=True), b=Verdict(is_allowed=False))
    a, b = EvaluatorAllows("a"), EvaluatorAllows("b")
    assert answer(And((NO, a)), judges) is False
    assert answer(Or((YES, a)), judges) is True
    assert judges.asked == []
    assert answer(Or((a, b)), judges) is True
    assert judges.asked == ["a"]
    assert answer(And((b, a)), judges) is False
    assert judges.asked == ["a", "b"]


def test_an_evaluator_that_fails_makes_no_tree_hold_not_even_below_a_not() -> None:
    failed = Verdict(is_allowed=False, why="broken", has_failed=True)
    trees = (EvaluatorAllows("a"), Not(EvaluatorAllows("a")), Or((EvaluatorAllows("a"), YES)))
    for tree in trees:
        assert answer(tree, Judges(a=failed)) is False
    plain = Verdict(is_allowed=False)
    assert answer(Not(EvaluatorAllows("a")), Judges(a=plain)) is True


def test_names_of_evaluators_are_found_at_each_level() -> None:
    tree = And((YES, Not(Or((EvaluatorAllows("a"), EvaluatorAllows("b"))))))
    assert evaluators_in(tree) == {"a", "b"}
