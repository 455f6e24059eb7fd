"""What [policy] may hold: what agents may do alone, and what a person is asked about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from supervisor.config.bounds import Count, Positive, Seconds, Section

Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=1e9)]
RiskWord = Literal["low", "medium", "high"]
TierWord = Literal["blocked", "steer", "always_approve", "auto_approve", "unrestricted"]


class ConditionSection(Section, frozen=True, kw_only=True):
    """`condition`: one key at each level, a leaf or `and`, `or`, `not`."""

    all_of: tuple[ConditionSection, ...] | None = msgspec.field(default=None, name="and")
    any_of: tuple[ConditionSection, ...] | None = msgspec.field(default=None, name="or")
    none_of: ConditionSection | None = msgspec.field(default=None, name="not")
    risk_level: RiskWord | None = None
    weight: Weight | None = None
    score: Share | None = None
    action: str | None = None
    asset: str | None = None
    evaluator: str | None = None


class AutoSection(Section, frozen=True, kw_only=True):
    """[policy.auto]: when an action may approve itself."""

    max_risk_tier: RiskWord = "low"
    max_weight: Weight = 2.5
    min_score: Share = 0.7
    dry_run_only: bool = True
    condition: ConditionSection | None = None


class RiskSection(Section, frozen=True, kw_only=True):
    """[policy.risk]: how risky one action is. Weights in percent, scores 0 to 1."""

    max_weight_pct: Weight = 5.0
    min_score: Share = 0.7
    high_risk_score: Share = 0.5
    assessor: str = "builtin"


class SessionRiskSection(Section, frozen=True, kw_only=True):
    """[policy.session_risk]: what a session's actions add up to, in points."""

    low: Count = 1
    medium: Count = 3
    high: Count = 5
    medium_from: Positive = 5
    high_from: Positive = 10
    patterns: tuple[tuple[str, ...], ...] = ()


class ActionSection(Section, frozen=True, kw_only=True):
    """[policy.action.NAME]: one action, which is known by standing here."""

    tier: TierWord | None = None
    irreversible: bool | None = None
    workers: tuple[str, ...] = ()
    guidance: str = ""
    suggest: tuple[str, ...] = ()


class EvaluatorSection(Section, frozen=True, kw_only=True):
    """[policy.evaluator.NAME]: a judge of proposals."""

    kind: str
    field: Literal["any", "action", "resource", "reasoning", "risk_factors", "metadata"] = "any"
    deny: tuple[str, ...] = ()
    block: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    options: Mapping[str, object] = {}


class PolicySection(Section, frozen=True, kw_only=True):
    """[policy]: which actions there are, and who decides about them. Spans in seconds."""

    blocked: tuple[str, ...] = ()
    steer: tuple[str, ...] = ()
    always_approve: tuple[str, ...] = ()
    auto_approve: tuple[str, ...] = ()
    unrestricted: tuple[str, ...] = ()
    resources: tuple[str, ...] = ("*",)
    known_assets: tuple[str, ...] = ()
    evaluators: tuple[str, ...] = ()
    evaluator_timeout_s: Seconds = 10.0
    high_risk: Literal["ask", "deny"] = "ask"
    max_retries: Count = 3
    profile: Literal["attended", "unattended"] = "attended"
    ticket_deadline_s: Seconds | None = None
    approval_valid_s: Seconds = 86_400.0
    sweep_every_s: Seconds = 5.0
    auto: AutoSection = AutoSection()
    risk: RiskSection = RiskSection()
    session_risk: SessionRiskSection = SessionRiskSection()
    action: Mapping[str, ActionSection] = {}
    evaluator: Mapping[str, EvaluatorSection] = {}
