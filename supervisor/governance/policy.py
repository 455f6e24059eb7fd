"""What the config says of an action: its tier, and who is to decide. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from supervisor.governance.conditions import Condition, fits
from supervisor.governance.evaluators import Evaluator
from supervisor.governance.proposals import Proposal
from supervisor.governance.risk import (
    Assessor,
    BuiltinAssessor,
    Risk,
    RiskLimits,
    SessionRisk,
    SessionRiskRules,
    highest,
)

#: Actions that can't be taken back are called by one of these words, alone or as the first of a
#: name such as `send_email` (requirement A2); the config may say so of others, or not of these.
IRREVERSIBLE = frozenset({"send", "post", "pay", "delete", "merge"})


class Tier(StrEnum):
    """What the config may say of an action, in the order of precedence."""

    BLOCKED = "blocked"
    STEER = "steer"
    ALWAYS_APPROVE = "always_approve"
    AUTO_APPROVE = "auto_approve"
    UNRESTRICTED = "unrestricted"
    DEFAULT = "default"


class Step(StrEnum):
    """Which step of the router gave the answer (governance.md); recorded with it."""

    EXPLICIT_ASSIGNMENT = "explicit_assignment"
    POLICY_LIST = "policy_list"
    RISK_TIER = "risk_tier"
    CAPABILITY = "capability"
    DEFAULT_AGENT = "default_agent"


class ActionRule(msgspec.Struct, frozen=True, kw_only=True):
    """What the config says of one action by its name; None and empty say nothing."""

    tier: Tier | None = None
    is_irreversible: bool | None = None
    workers: tuple[str, ...] = ()
    guidance: str = ""
    suggest: tuple[str, ...] = ()


class AutoRule(msgspec.Struct, frozen=True, kw_only=True):
    """When an action may approve itself; a condition tree replaces all the rest."""

    max_risk_tier: Risk = Risk.LOW
    max_weight: float = 2.5
    min_score: float = 0.7
    dry_run_only: bool = True
    condition: Condition | None = None


class ActionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of [policy]; spans in seconds. Without one, every action is unknown or a draft."""

    lists: Mapping[Tier, tuple[str, ...]] = {}
    actions: Mapping[str, ActionRule] = {}
    resources: tuple[str, ...] = ("*",)
    known_assets: tuple[str, ...] = ()
    auto: AutoRule = AutoRule()
    is_high_risk_denied: bool = False
    max_retries: int = 3
    ticket_deadline_s: float = 3600.0
    approval_valid_s: float = 86_400.0
    session_risk: SessionRiskRules = SessionRiskRules()
    assessor: Assessor = BuiltinAssessor(RiskLimits())
    always_asked: tuple[str, ...] = ()
    evaluators: Mapping[str, Evaluator] = {}
    evaluator_timeout_s: float = 10.0

    @property
    def known_actions(self) -> set[str]:
        """Every action that this policy knows by name: its registry."""
        named = {name for names in self.lists.values() for name in names if is_name(name)}
        return named.union(IRREVERSIBLE, self.actions)

    def is_known_asset(self, resource: str) -> bool:
        """Return whether the config calls a resource known."""
        return fits(resource, self.known_assets)

    def rule(self, action: str) -> ActionRule:
        """Return what the config says of the action by its name."""
        return self.actions.get(action, ActionRule())


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A tier, the step of the router that gave it, and its reason in words."""

    tier: Tier
    step: Step
    reason: str


def is_name(pattern: str) -> bool:
    """Return whether a pattern is the name of one action."""
    return not any(char in pattern for char in "*?[")


def route(policy: ActionPolicy, proposal: Proposal, worker: str) -> Route:
    """Return the action's tier: the first in precedence of all that the config gives it."""
    action, rule = proposal.action, policy.rule(proposal.action)
    if action not in policy.known_actions:
        near = difflib.get_close_matches(action, policy.known_actions, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return _blocked(f"action {action!r} is not known to [policy]{hint}")
    if not fits(proposal.resource, policy.resources):
        return _blocked(f"resource {proposal.resource!r} is out of scope")
    if rule.workers and worker not in rule.workers:
        return _blocked(f"action {action!r} is not for worker {worker}")
    for tier in Tier:
        if rule.tier is tier:
            reason = f"[policy.action.{action}] tier = {tier.value}"
            return Route(tier=tier, step=Step.EXPLICIT_ASSIGNMENT, reason=reason)
        if fits(action, policy.lists.get(tier, ())):
            reason = f"{action!r} is on [policy] {tier.value}"
            return Route(tier=tier, step=Step.POLICY_LIST, reason=reason)
    reason = f"[policy] says nothing of {action!r}"
    return Route(tier=Tier.DEFAULT, step=Step.DEFAULT_AGENT, reason=reason)


def _blocked(reason: str) -> Route:
    return Route(tier=Tier.BLOCKED, step=Step.CAPABILITY, reason=reason)


def is_off(policy: ActionPolicy, action: str, tier: Tier) -> bool:
    """Return whether the action can't be taken back and the config does not free it by its name.

    A pattern such as `*` frees nothing: only the action's own name does.
    """
    rule = policy.rule(action)
    if tier not in (Tier.AUTO_APPROVE, Tier.UNRESTRICTED, Tier.DEFAULT):
        return False
    is_irreversible = rule.is_irreversible
    if is_irreversible is None:
        words = action.replace("-", "_").replace(".", "_").split("_")
        is_irreversible = words[0] in IRREVERSIBLE
    is_freed = tier is not Tier.DEFAULT and (
        rule.tier is tier or action in policy.lists.get(tier, ())
    )
    return is_irreversible and not is_freed


class Way(StrEnum):
    """What becomes of a proposal."""

    APPROVE = "approve"
    ASK = "ask"
    DRAFT = "draft"
    STEER = "steer"
    DENY = "deny"


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy needs to know beside the proposal.

    `session` is the session's risk before the proposal, `pattern` one that it would complete.
    `condition_holds` is what the tree of the auto rule said, None where there is none.
    `steered` is how often the session was steered away from this action already.
    """

    risk: Risk
    session: SessionRisk = SessionRisk()
    pattern: tuple[str, ...] = ()
    is_dry_run: bool = False
    condition_holds: bool | None = None
    denied_by: str = ""
    steered: int = 0


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a proposal, and why; `code` is the reason of a denial in one word."""

    way: Way
    route: Route
    code: str = ""

    @property
    def why(self) -> str:
        return self.route.reason


def rule_on(policy: ActionPolicy, proposal: Proposal, route: Route, at: Circumstances) -> Ruling:
    """Return what becomes of the proposal (governance.md, steps 2 to 4)."""
    if route.tier is Tier.BLOCKED:
        return Ruling(way=Way.DENY, route=route, code="blocked")
    if at.denied_by:
        denied = _by(route, at.denied_by, Step.POLICY_LIST)
        return Ruling(way=Way.DENY, route=denied, code="evaluator")
    if route.tier is Tier.STEER:
        if at.steered < policy.max_retries:
            return Ruling(way=Way.STEER, route=route)
        reason = f"it was steered {at.steered} times in this session"
        return Ruling(way=Way.ASK, route=_by(route, reason))
    return _rule_on_risk(policy, proposal, route, at)


def _rule_on_risk(
    policy: ActionPolicy, proposal: Proposal, route: Route, at: Circumstances
) -> Ruling:
    raised = _raised(route, at)
    if raised.tier is Tier.ALWAYS_APPROVE:
        return Ruling(way=Way.ASK, route=raised)
    if is_off(policy, proposal.action, route.tier):
        reason = f"{proposal.action} can't be taken back, and [policy] does not allow it by name"
        return Ruling(way=Way.DRAFT, route=_by(raised, reason))
    if raised.tier is Tier.UNRESTRICTED:
        return Ruling(way=Way.APPROVE, route=raised)
    return _rule_on_auto(policy, proposal, raised, at)


def _rule_on_auto(
    policy: ActionPolicy, proposal: Proposal, route: Route, at: Circumstances
) -> Ruling:
    risk = highest(at.risk, at.session.level)
    if risk is Risk.HIGH and policy.is_high_risk_denied:
        reason = "its risk is high, and [policy] high_risk = deny"
        return Ruling(way=Way.DENY, route=_by(route, reason), code="high_risk")
    is_default = route.tier is Tier.DEFAULT
    why_not = "" if at.condition_holds else _why_not(policy.auto, proposal, risk, at)
    if is_default and risk is not Risk.LOW:
        why_not = why_not or _risk_text(risk, at)
    if why_not:
        return Ruling(way=Way.ASK, route=_by(route, why_not))
    approved = _by(route, "its risk is low") if is_default else route
    return Ruling(way=Way.APPROVE, route=approved)


def _risk_text(risk: Risk, at: Circumstances) -> str:
    """Return whose risk it is that decides: the proposal's own, or what its session adds up to."""
    if at.risk is risk:
        return f"its risk is {risk}"
    return f"its risk is {at.risk}, its session's is {risk} ({at.session.points} points)"


def _why_not(rule: AutoRule, proposal: Proposal, risk: Risk, at: Circumstances) -> str:
    """Return why the action may not approve itself, empty where it may."""
    if rule.condition is not None:
        return "the condition of [policy.auto] does not hold"
    if not risk.is_at_most(rule.max_risk_tier):
        return f"{_risk_text(risk, at)}, above {rule.max_risk_tier}"
    if proposal.weight > rule.max_weight:
        return f"its weight {proposal.weight:g} is above {rule.max_weight:g}"
    if proposal.score < rule.min_score:
        return f"its score {proposal.score:g} is below {rule.min_score:g}"
    if rule.dry_run_only and not at.is_dry_run:
        return "[policy.auto] dry_run_only = true, and the session is live"
    return ""


def _raised(route: Route, at: Circumstances) -> Route:
    """Return the tier as the session's risk raises it: nothing approves itself at high."""
    if route.tier is Tier.ALWAYS_APPROVE:
        return route
    if at.pattern:
        reason = f"it completes the pattern {' > '.join(at.pattern)}"
        return Route(tier=Tier.ALWAYS_APPROVE, step=Step.RISK_TIER, reason=reason)
    reason = f"the session's risk is {at.session.level} ({at.session.points} points)"
    if at.session.level is Risk.HIGH:
        return Route(tier=Tier.ALWAYS_APPROVE, step=Step.RISK_TIER, reason=reason)
    if at.session.level is Risk.MEDIUM and route.tier is Tier.UNRESTRICTED:
        return Route(tier=Tier.AUTO_APPROVE, step=Step.RISK_TIER, reason=reason)
    return route


def _by(route: Route, reason: str, step: Step = Step.RISK_TIER) -> Route:
    """Return the same tier with the step and the reason that decided."""
    return msgspec.structs.replace(route, step=step, reason=reason)
