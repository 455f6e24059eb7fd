"""[policy]: what the file may say, what it becomes, and how a mistake in it is told."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from supervisor import policy_assembly
from supervisor.errors import ConfigError
from supervisor.governance.conditions import (
    And,
    AssetIs,
    Condition,
    EvaluatorAllows,
    Not,
    RiskAtMost,
    ScoreAtLeast,
)
from supervisor.governance.evaluators import ListEvaluator, RegexEvaluator
from supervisor.governance.policy import ActionPolicy, ActionRule, Tier
from supervisor.governance.risk import Risk, SessionRiskRules
from supervisor.policy_assembly import build_action_policy
from tests.unit.config.conftest import Read, Refusal

WHOLE = """
[policy]
blocked = ["send_email"]
auto_approve = ["tag_*"]
always_approve = ["merge"]
resources = ["issue:*"]
known_assets = ["issue:*"]
evaluators = ["words"]
high_risk = "deny"
max_retries = 2
ticket_deadline_s = 60.0

[policy.auto]
dry_run_only = false
condition = { and = [
  { risk_level = "low" }, { not = { asset = "issue:1" } }, { evaluator = "names" },
] }

[policy.session_risk]
medium_from = 50
high_from = 100
patterns = [["read", "post"]]

[policy.action.close]
tier = "steer"
guidance = "comment instead"
suggest = ["comment"]

[policy.evaluator.words]
kind = "regex"
deny = ["password"]

[policy.evaluator.names]
kind = "list"
field = "action"
allow = ["tag_issue"]
"""


def test_the_whole_section_becomes_a_policy(read: Read) -> None:
    policy = build_action_policy(read(WHOLE))
    assert policy.lists[Tier.BLOCKED] == ("send_email",)
    assert policy.actions["close"] == ActionRule(
        tier=Tier.STEER, guidance="comment instead", suggest=("comment",)
    )
    assert {"close", "merge", "send_email", "pay"} <= policy.known_actions
    assert "tag_*" not in policy.known_actions
    assert policy.auto.condition == And(
        (RiskAtMost(Risk.LOW), Not(AssetIs(("issue:1",))), EvaluatorAllows("names"))
    )
    assert (policy.is_high_risk_denied, policy.max_retries) == (True, 2)
    assert policy.ticket_deadline_s == 60.0
    assert policy.session_risk.patterns == (("read", "post"),)
    assert isinstance(policy.evaluators["words"], RegexEvaluator)
    assert isinstance(policy.evaluators["names"], ListEvaluator)


def test_the_defaults_of_the_file_are_those_of_the_policy(read: Read) -> None:
    policy, default = build_action_policy(read("")), ActionPolicy()
    for name in ("resources", "known_assets", "auto", "max_retries", "ticket_deadline_s"):
        assert getattr(policy, name) == getattr(default, name), name
    assert policy.session_risk == SessionRiskRules()
    assert policy.approval_valid_s == default.approval_valid_s


@pytest.mark.parametrize(
    ("text", "deadline_s"),
    [
        ("", 3600.0),
        ('profile = "unattended"', 900.0),
        ('profile = "unattended"\nticket_deadline_s = 5.0', 5.0),
    ],
)
def test_a_ticket_waits_as_long_as_the_profile_says(
    read: Read, text: str, deadline_s: float
) -> None:
    policy = build_action_policy(read(f"[policy]\n{text}\n"))
    assert policy.ticket_deadline_s == deadline_s


def nested(levels: int) -> str:
    return "{ not = " * (levels - 1) + "{ score = 0.5 }" + " }" * (levels - 1)


def test_a_condition_has_six_levels_and_no_more(read: Read, refusal: Refusal) -> None:
    text = "[policy.auto]\ncondition = "
    condition = build_action_policy(read(text + nested(6))).auto.condition
    expected: Condition = ScoreAtLeast(0.5)
    for _ in range(5):
        expected = Not(expected)
    assert condition == expected
    assert "deeper than 6 levels" in str(refusal(text + nested(7)))


@pytest.mark.parametrize(
    ("text", "place", "cure"),
    [
        ('[policy]\nblocked = "merge"', "policy.blocked", "write a list"),
        ("[policy]\nblock = []", "policy.block", "did you mean 'blocked'"),
        ("[policy.auto]\nmax_wait = 1", "policy.auto.max_wait", "did you mean 'max_weight'"),
        ("[policy.auto]\nmin_score = 2", "policy.auto.min_score", "at most 1"),
        ('[policy]\nblocked = ["a b"]', "policy.blocked", "name actions"),
        ('[policy.action.x]\ntier = "auto"', "policy.action.x.tier", "known here"),
        ('[policy.action.x]\nworkers = ["w"]', "policy.action.x.workers", "known here"),
        ('[policy]\nevaluators = ["x"]', "policy.evaluators", "known here"),
        ('[policy.evaluator.x]\nkind = "regex"', "policy.evaluator.x", "add deny or allow"),
        ('[policy.evaluator.x]\nkind = "regex"\ndeny = ["("]', "policy.evaluator.x", "mend it"),
        ("[policy.session_risk]\nhigh_from = 2", "policy.session_risk.high_from", "at least"),
        ("[policy.session_risk]\npatterns = [[]]", "policy.session_risk.patterns", "1 to 10"),
        ("[policy.auto]\ncondition = {}", "policy.auto.condition", "write one key"),
        ("[policy.auto]\ncondition = { and = [] }", "policy.auto.condition", "add a condition"),
        (
            '[policy.auto]\ncondition = { score = 0.5, asset = "x" }',
            "policy.auto.condition",
            "write one key",
        ),
        (
            '[policy.auto]\ncondition = { evaluator = "x" }',
            "policy.auto.condition.evaluator",
            "known here",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_cure(
    refusal: Refusal, text: str, place: str, cure: str
) -> None:
    told = str(refusal(text))
    assert place in told
    assert cure in told


def test_an_evaluator_or_assessor_that_is_not_installed_is_refused(read: Read) -> None:
    for text in (
        '[policy.evaluator.x]\nkind = "acme"',
        '[policy.risk]\nassessor = "acme"',
    ):
        with pytest.raises(ConfigError, match="is no entry point of the group"):
            build_action_policy(read(text))


class Strict:
    """What an installed package may register."""

    def __init__(self, options: dict[str, object]) -> None:
        self.options = options
        if "limit" not in options:
            raise ValueError("no limit is given")


def test_an_evaluator_of_another_package_is_made_of_its_options(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("acme", f"{Strict.__module__}:Strict", "supervisor.evaluators")
    monkeypatch.setattr(EntryPoint, "load", lambda _: Strict)
    monkeypatch.setattr(policy_assembly, "entry_points", lambda **_: EntryPoints([point]))
    policy = build_action_policy(
        read('[policy.evaluator.x]\nkind = "acme"\noptions = { limit = 3 }')
    )
    made: object = policy.evaluators["x"]
    assert isinstance(made, Strict)
    assert made.options == {"limit": 3}
    with pytest.raises(ConfigError, match="no limit is given"):
        build_action_policy(read('[policy.evaluator.x]\nkind = "acme"'))
