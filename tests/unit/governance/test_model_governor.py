"""Which models may be used on whose behalf."""

from __future__ import annotations

import pytest

from supervisor import Identity, InputRefused, ModelGovernor, ModelList, ModelRule, ModelTier
from supervisor.identity import NOBODY

STANDARD, PREMIUM, RESTRICTED = ModelTier
ANN = Identity(org="acme", team="red", user="ann")
BOB = Identity(org="acme", team="blue", user="bob")
EVE = Identity(org="other", user="eve")
TIERS = {
    STANDARD: ["local/*"],
    PREMIUM: ["cloud/large", "cloud/odd"],
    RESTRICTED: ["cloud/odd", "cloud/secret"],
}


def may(governor: ModelGovernor, who: Identity, model: str, action_tier: str = "default") -> bool:
    return governor.check_access(who, model, action_tier).is_allowed


def test_without_a_rule_everybody_may_use_what_is_allowed_and_no_more() -> None:
    governor = ModelGovernor(tiers=TIERS)
    assert may(governor, NOBODY, "local/small")
    assert not may(governor, ANN, "cloud/large")
    assert not may(governor, ANN, "cloud/secret")


@pytest.mark.parametrize("model", ["cloud/new", "", "local", "x/local/small"])
def test_an_unknown_model_is_restricted(model: str) -> None:
    governor = ModelGovernor(tiers=TIERS, allow=[STANDARD, PREMIUM])
    access = governor.check_access(ANN, model)
    assert (access.tier, access.is_allowed) == (RESTRICTED, False)
    assert "as [models] does not name it" in access.why


def test_a_model_in_two_tiers_is_in_the_stricter_one() -> None:
    assert ModelGovernor(tiers=TIERS).tier_of("cloud/odd") is RESTRICTED


def test_a_governor_without_a_word_allows_nothing_to_nobody() -> None:
    assert not may(ModelGovernor(tiers={}), ANN, "local/small")


def test_every_rule_that_covers_an_identity_must_allow_the_tier() -> None:
    governor = ModelGovernor(
        tiers=TIERS,
        rules=[
            ModelRule(identity=Identity(org="acme"), allow=(STANDARD, PREMIUM)),
            ModelRule(identity=Identity(team="blue"), allow=(STANDARD,)),
            ModelRule(identity=Identity(org="acme", user="ann"), allow=tuple(ModelTier)),
        ],
    )
    assert may(governor, ANN, "cloud/large")
    assert not may(governor, ANN, "cloud/secret"), "its org's rule says no"
    assert not may(governor, BOB, "cloud/large"), "its team's rule says no"
    assert not may(governor, EVE, "cloud/large"), "no rule is on it"


def test_the_tier_of_an_action_narrows_what_may_be_used() -> None:
    governor = ModelGovernor(
        tiers=TIERS,
        allow=[STANDARD, PREMIUM],
        actions={"always_approve": [PREMIUM], "blocked": []},
    )
    assert may(governor, ANN, "local/small")
    assert may(governor, ANN, "cloud/large", "always_approve")
    assert not may(governor, ANN, "local/small", "always_approve")
    assert not may(governor, ANN, "local/small", "blocked")
    assert may(governor, ANN, "local/small", "steer"), "nothing was said of it"


def test_an_unknown_tier_of_an_action_is_an_error() -> None:
    with pytest.raises(InputRefused, match="give one of blocked, steer"):
        ModelGovernor(tiers=TIERS).check_access(ANN, "local/small", "always")


def test_an_override_is_an_exclusive_list_that_beats_the_rules() -> None:
    governor = ModelGovernor(
        tiers=TIERS,
        actions={"default": []},
        rules=[ModelRule(identity=Identity(org="acme"), allow=())],
        overrides=[ModelList(identity=Identity(user="ann"), models=("cloud/secret", "new/*"))],
    )
    for model in ("cloud/secret", "new/one"):
        access = governor.check_access(ANN, model)
        assert (access.is_allowed, access.is_override) == (True, True)
    denied = governor.check_access(ANN, "local/small")
    assert (denied.is_allowed, denied.is_override) == (False, True)
    assert "is not in the override of org:acme,team:red,user:ann" in denied.why
    assert not may(governor, BOB, "cloud/secret")


def test_of_two_overrides_both_must_have_the_model() -> None:
    governor = ModelGovernor(
        tiers=TIERS,
        overrides=[
            ModelList(identity=Identity(org="acme"), models=("local/*", "cloud/large")),
            ModelList(identity=Identity(user="ann"), models=("cloud/*",)),
        ],
    )
    assert may(governor, ANN, "cloud/large")
    assert not may(governor, ANN, "local/small")
    assert may(governor, BOB, "local/small")


def test_the_models_of_a_token_budget_bind_beside_everything_else() -> None:
    lists = [ModelList(identity=Identity(org="acme"), models=("local/*",))]
    assert not may(ModelGovernor(lists=lists), ANN, "cloud/large")
    assert may(ModelGovernor(lists=lists), EVE, "cloud/large"), "it governs its own alone"
    governor = ModelGovernor(
        tiers=TIERS,
        overrides=[ModelList(identity=ANN, models=("cloud/large",))],
        lists=lists,
    )
    assert not may(governor, ANN, "cloud/large")


def test_a_refusal_names_the_model_its_tier_and_whom_it_was_for() -> None:
    refusal = ModelGovernor(tiers=TIERS).check_access(BOB, "cloud/large").refusal
    assert refusal is not None
    assert (refusal.code, refusal.tier) == ("model_access_denied", "premium")
    assert str(refusal) == (
        "model cloud/large: is premium, which org:acme,team:blue,user:bob may not use; "
        "put it into another tier of [models], or allow the tier"
    )
