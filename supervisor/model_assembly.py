"""From [models] and [[token_budget]] of the config to what the gates and the ledger go by."""

from __future__ import annotations

import msgspec

from supervisor.config import Config
from supervisor.config.model_sections import IdentitySection, ModelsSection
from supervisor.governance.model_governor import ModelGovernor, ModelList, ModelRule, ModelTier
from supervisor.governance.routing import CLASSES, RouteRule, Routing
from supervisor.governance.token_budgets import TokenBudgetConfig
from supervisor.identity import Identity


def identity_of(section: IdentitySection) -> Identity:
    """Return the identity that a section names."""
    return Identity(org=section.org, team=section.team, user=section.user)


def build_token_budgets(config: Config) -> list[TokenBudgetConfig]:
    """Return every [[token_budget]] of the config."""
    return [
        TokenBudgetConfig(
            identity=identity_of(section),
            period=section.period,
            max_tokens=section.max_tokens,
            max_cost_usd=section.max_cost_usd,
            allowed_models=section.allowed_models,
        )
        for section in config.token_budget
    ]


def build_governor(config: Config) -> ModelGovernor | None:
    """Return what says which models may be used, None where the config says nothing of it."""
    lists = [
        ModelList(models=section.allowed_models, identity=identity_of(section))
        for section in config.token_budget
        if section.allowed_models is not None
    ]
    if config.models is None:
        return ModelGovernor(lists=lists) if lists else None
    return _governor(config.models, lists)


def build_routing(config: Config) -> Routing | None:
    """Return the classes of models, None where the config has none."""
    section = config.routing
    if section is None:
        return None
    rules = [RouteRule(**msgspec.structs.asdict(rule)) for rule in section.rule]
    return Routing(classes={name: getattr(section, name) for name in CLASSES}, rules=rules)


def _governor(models: ModelsSection, lists: list[ModelList]) -> ModelGovernor:
    by_action = {name: getattr(models.actions, name) for name in models.actions.__struct_fields__}
    return ModelGovernor(
        tiers={
            ModelTier.STANDARD: models.standard,
            ModelTier.PREMIUM: models.premium,
            ModelTier.RESTRICTED: models.restricted,
        },
        allow=_tiers(models.allow),
        actions={name: _tiers(words) for name, words in by_action.items() if words is not None},
        rules=[
            ModelRule(allow=_tiers(rule.allow), identity=identity_of(rule)) for rule in models.rule
        ],
        overrides=[
            ModelList(models=override.models, identity=identity_of(override))
            for override in models.override
        ],
        lists=lists,
    )


def _tiers(words: tuple[str, ...]) -> tuple[ModelTier, ...]:
    return tuple(ModelTier(word) for word in words)
