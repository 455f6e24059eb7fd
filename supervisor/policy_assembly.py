"""From [policy] of the config to the policy that proposals are judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import cast

from supervisor.config import Loaded
from supervisor.config.policy_sections import ConditionSection, EvaluatorSection, PolicySection
from supervisor.errors import ConfigError, text_of
from supervisor.governance import evaluators
from supervisor.governance.conditions import (
    ActionIs,
    And,
    AssetIs,
    Condition,
    EvaluatorAllows,
    Not,
    Or,
    RiskAtMost,
    ScoreAtLeast,
    WeightAtMost,
)
from supervisor.governance.evaluators import Evaluator, ListEvaluator, RegexEvaluator
from supervisor.governance.policy import ActionPolicy, ActionRule, AutoRule, Tier
from supervisor.governance.risk import (
    ASSESSORS,
    Assessor,
    BuiltinAssessor,
    Risk,
    RiskLimits,
    SessionRiskRules,
)

#: How long a ticket waits where [policy] does not say (governance.md).
_DEADLINES_S = {"attended": 3600.0, "unattended": 900.0}


def build_action_policy(loaded: Loaded) -> ActionPolicy:
    """Return the policy of the config.

    Raises:
        ConfigError: an evaluator or assessor that it names can't be had.
    """
    section = loaded.config.policy
    tiers = (tier for tier in Tier if tier is not Tier.DEFAULT)
    return ActionPolicy(
        lists={tier: getattr(section, tier.value) for tier in tiers},
        actions=_rules(section),
        resources=section.resources,
        known_assets=section.known_assets,
        auto=_auto(section),
        is_high_risk_denied=section.high_risk == "deny",
        max_retries=section.max_retries,
        ticket_deadline_s=section.ticket_deadline_s or _DEADLINES_S[section.profile],
        approval_valid_s=section.approval_valid_s,
        session_risk=_session_risk(section),
        assessor=_assessor(loaded, section),
        always_asked=section.evaluators,
        evaluators={name: _evaluator(loaded, name, one) for name, one in section.evaluator.items()},
        evaluator_timeout_s=section.evaluator_timeout_s,
    )


def _rules(section: PolicySection) -> Mapping[str, ActionRule]:
    return {
        name: ActionRule(
            tier=None if action.tier is None else Tier(action.tier),
            is_irreversible=action.irreversible,
            workers=action.workers,
            guidance=action.guidance,
            suggest=action.suggest,
        )
        for name, action in section.action.items()
    }


def _auto(section: PolicySection) -> AutoRule:
    auto = section.auto
    return AutoRule(
        max_risk_tier=Risk(auto.max_risk_tier),
        max_weight=auto.max_weight,
        min_score=auto.min_score,
        dry_run_only=auto.dry_run_only,
        condition=None if auto.condition is None else build_condition(auto.condition),
    )


def _session_risk(section: PolicySection) -> SessionRiskRules:
    rules = section.session_risk
    return SessionRiskRules(
        low=rules.low,
        medium=rules.medium,
        high=rules.high,
        medium_from=rules.medium_from,
        high_from=rules.high_from,
        patterns=rules.patterns,
    )


def build_condition(section: ConditionSection) -> Condition:
    """Return the tree that a checked section is: one key at each level."""
    if section.all_of is not None:
        return And(tuple(build_condition(child) for child in section.all_of))
    if section.any_of is not None:
        return Or(tuple(build_condition(child) for child in section.any_of))
    if section.none_of is not None:
        return Not(build_condition(section.none_of))
    return _leaf(section)


def _leaf(section: ConditionSection) -> Condition:
    leaves: list[Condition | None] = [
        None if section.risk_level is None else RiskAtMost(Risk(section.risk_level)),
        None if section.weight is None else WeightAtMost(section.weight),
        None if section.score is None else ScoreAtLeast(section.score),
        None if section.action is None else ActionIs((section.action,)),
        None if section.asset is None else AssetIs((section.asset,)),
        None if section.evaluator is None else EvaluatorAllows(section.evaluator),
    ]
    (leaf,) = [leaf for leaf in leaves if leaf is not None]
    return leaf


def _assessor(loaded: Loaded, section: PolicySection) -> Assessor:
    risk = section.risk
    if risk.assessor == "builtin":
        limits = RiskLimits(
            max_weight_pct=risk.max_weight_pct,
            min_score=risk.min_score,
            high_risk_score=risk.high_risk_score,
        )
        return BuiltinAssessor(limits)
    return cast("Assessor", _load(loaded, "policy.risk.assessor", ASSESSORS, risk.assessor))


def _evaluator(loaded: Loaded, name: str, section: EvaluatorSection) -> Evaluator:
    match section.kind:
        case "regex":
            return RegexEvaluator(field=section.field, deny=section.deny, allow=section.allow)
        case "list":
            return ListEvaluator(field=section.field, block=section.block, allow=section.allow)
    key = f"policy.evaluator.{name}.kind"
    loaded_point = _load(loaded, key, evaluators.ENTRY_POINTS, section.kind)
    factory = cast("Callable[[Mapping[str, object]], Evaluator]", loaded_point)
    try:
        return factory(section.options)
    except Exception as error:
        raise ConfigError(
            subject=f"{loaded.path}: {key} = {section.kind!r}",
            what=f"its evaluator can't be made: {text_of(error)}",
            fix=f"mend [policy.evaluator.{name}.options], or that package",
        ) from error


def _load(loaded: Loaded, key: str, group: str, name: str) -> object:
    """Return what an installed distribution has registered under a name."""
    found = {point.name: point for point in entry_points(group=group)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none is installed"
        raise ConfigError(
            subject=f"{loaded.path}: {key} = {name!r}",
            what=f"is no entry point of the group {group}",
            fix=f"install the package that has it; there is: {known}",
        )
    try:
        return found[name].load()
    except Exception as error:
        raise ConfigError(
            subject=f"{loaded.path}: {key} = {name!r}",
            what=f"can't be loaded: {text_of(error)}",
            fix="mend that package",
        ) from error
