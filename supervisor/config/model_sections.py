"""What [models] and [[token_budget]] may hold: who may use which model, and how much of it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from supervisor.config.bounds import Count, Positive, Section, Usd

TierWord = Literal["standard", "premium", "restricted"]


class IdentitySection(Section, frozen=True, kw_only=True):
    """`identity`: on whose behalf calls are made; what is left out is not said."""

    org: str | None = None
    team: str | None = None
    user: str | None = None


class TokenBudgetSection(IdentitySection, frozen=True, kw_only=True):
    """[[token_budget]]: what may be used on behalf of an org, a team, a user; left out: of all."""

    period: Literal["hour", "day", "week", "month", "session", "unlimited"]
    max_tokens: Count | None = None
    max_cost_usd: Usd | None = None
    allowed_models: tuple[str, ...] | None = None


class ModelRuleSection(IdentitySection, frozen=True, kw_only=True):
    """[[models.rule]]: the tiers that may be used on somebody's behalf."""

    allow: tuple[TierWord, ...]


class ModelOverrideSection(IdentitySection, frozen=True, kw_only=True):
    """[[models.override]]: the only models on somebody's behalf, whatever the rules say."""

    models: tuple[str, ...]


class ActionTiersSection(Section, frozen=True, kw_only=True):
    """[models.actions]: the tiers of models for each tier of actions; left out: as without it."""

    blocked: tuple[TierWord, ...] | None = None
    steer: tuple[TierWord, ...] | None = None
    always_approve: tuple[TierWord, ...] | None = None
    auto_approve: tuple[TierWord, ...] | None = None
    unrestricted: tuple[TierWord, ...] | None = None
    default: tuple[TierWord, ...] | None = None


ClassWord = Literal["cheap", "balanced", "best"]


class RouteRuleSection(Section, frozen=True, kw_only=True):
    """[[routing.rule]]: when a call uses another class; what is left out holds always."""

    use: ClassWord
    asked: ClassWord | None = None
    purpose: str = "*"
    input_tokens_min: Count | None = None
    input_tokens_max: Count | None = None
    budget_left_max: Annotated[float, Meta(ge=0, le=1)] | None = None


class RoutingSection(Section, frozen=True, kw_only=True):
    """[routing]: the models of each class, PROVIDER/MODEL."""

    cheap: tuple[str, ...] = ()
    balanced: tuple[str, ...] = ()
    best: tuple[str, ...] = ()
    rule: tuple[RouteRuleSection, ...] = ()


class ContextSection(Section, frozen=True, kw_only=True):
    """[context]: how much input a call and a session may have, in tokens."""

    call_tokens_max: Positive | None = None
    session_tokens_max: Positive | None = None


class ModelsSection(Section, frozen=True, kw_only=True):
    """[models]: the tier of each model, and who may use which; without it everybody may use all."""

    standard: tuple[str, ...] = ()
    premium: tuple[str, ...] = ()
    restricted: tuple[str, ...] = ()
    allow: tuple[TierWord, ...] = ("standard",)
    actions: ActionTiersSection = ActionTiersSection()
    rule: tuple[ModelRuleSection, ...] = ()
    override: tuple[ModelOverrideSection, ...] = ()
