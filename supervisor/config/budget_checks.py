"""What types alone can't say of limits, and of on whose behalf calls are made."""

from __future__ import annotations

import re
from collections.abc import Callable

from supervisor.config.explain import did_you_mean
from supervisor.config.model_sections import IdentitySection, ModelsSection
from supervisor.config.sections import BudgetSection, Config, WorkerSection
from supervisor.errors import ConfigError
from supervisor.identity import name_problem

#: The same kinds as ledger/scopes.py has.
_KINDS = ("worker", "model", "conversation", "org", "team", "user")
_IDENTITY_KINDS = ("org", "team", "user")
_EACH = "*"
#: The same as governance/routing.py has.
CLASSES = ("cheap", "balanced", "best")
_UNITS = ("max_cost_usd", "max_tokens", "max_actions")
_MODEL = re.compile(r"\S{1,128}")
_SCOPE_FIX = (
    'use "system", "session", or a kind and a name: worker:, model:, conversation:, org:, team: '
    "or user:"
)

Fail = Callable[[str, object, str, str], ConfigError]


def check_budgets(config: Config, fail: Fail) -> None:
    """Check every [[budget]] against the others and against what there is.

    Raises:
        ConfigError: made by `fail` of a key, its value, what is wrong, and the cure.
    """
    seen: set[tuple[str, str, str]] = set()
    for number, budget in enumerate(config.budget):
        key = f"budget[{number}]"
        _check_scope(f"{key}.scope", budget.scope, config, fail)
        if (budget.scope, budget.period) == ("session", "unlimited"):
            fix = 'write period = "session", which is as long as it lasts'
            raise fail(f"{key}.period", budget.period, "is longer than a session", fix)
        units = [name for name in _UNITS if getattr(budget, name) is not None]
        if not units:
            fix = f"add {', '.join(_UNITS[:-1])} or {_UNITS[-1]}"
            raise fail(key, budget.scope, "limits nothing", fix)
        for unit in units:
            _check_once(f"{key}.{unit}", budget, unit, seen, fail)
            seen.add((budget.scope, budget.period, unit))


def _check_once(
    key: str, budget: BudgetSection, unit: str, seen: set[tuple[str, str, str]], fail: Fail
) -> None:
    limit = (budget.scope, budget.period, unit)
    if limit in seen:
        fix = "keep one limit for each scope, period and unit"
        raise fail(key, budget.scope, "is limited twice", fix)
    if limit == ("system", "day", "max_cost_usd"):
        fix = "set [spend] daily_cap_usd instead: it is that account"
        raise fail("budget", "system", "limits the system's day again", fix)
    if limit in {("session", "session", unit) for unit in ("max_cost_usd", "max_actions")}:
        fix = f"set [session] {unit} instead: it is that account"
        raise fail("budget", "session", "limits each session again", fix)


def _check_scope(key: str, scope: str, config: Config, fail: Fail) -> None:
    if scope in ("system", "session"):
        return
    parts = [part.partition(":") for part in scope.split(",")]
    if scope.startswith("model:"):
        parts = [("model", ":", scope.removeprefix("model:"))]
    kinds = [kind for kind, colon, _ in parts if colon]
    if len(kinds) < len(parts) or not set(kinds) <= set(_KINDS):
        raise fail(key, scope, "is not a scope", _SCOPE_FIX)
    in_order = [kind for kind in _IDENTITY_KINDS if kind in kinds]
    if len(kinds) > 1 and kinds != in_order:
        fix = 'join org, team and user only, in this order, such as "org:acme,user:ann"'
        raise fail(key, scope, "joins what can't be joined", fix)
    for kind, _, name in parts:
        if name != _EACH:
            _check_named(key, scope, (kind, name), config, fail)


def _check_named(key: str, scope: str, part: tuple[str, str], config: Config, fail: Fail) -> None:
    kind, name = part
    # A budget of what is not there would limit nothing, in silence.
    if kind == "worker" and name not in config.worker:
        fix = did_you_mean(name, config.worker)
        raise fail(key, scope, "names no worker of this config", fix)
    if kind == "model":
        check_model(key, scope, name, config, fail)
    if kind not in ("worker", "model") and (problem := name_problem(name)):
        fix = f'name the {kind}, or write "{kind}:*" for each one\'s own'
        raise fail(key, scope, f"has a name that {problem}", fix)


def check_model(key: str, value: str, model: str, config: Config, fail: Fail) -> None:
    """Check that a model is `provider/model`, of a provider of this config.

    Raises:
        ConfigError: made by `fail`.
    """
    provider, _, rest = model.partition("/")
    if not rest or not _MODEL.fullmatch(model):
        known = ", ".join(sorted(config.providers)) or "none yet"
        fix = f"write PROVIDER/MODEL; [providers.*] has: {known}"
        raise fail(key, value, "names no model", fix)
    if provider not in config.providers:
        fix = did_you_mean(provider, config.providers)
        if provider == "builtin":
            fix = 'add [providers.builtin] with kind = "builtin"'
        raise fail(key, value, "names no provider of this config", fix)


def check_identity(key: str, identity: IdentitySection, fail: Fail) -> None:
    """Check the names of an identity.

    Raises:
        ConfigError: made by `fail`.
    """
    for kind in _IDENTITY_KINDS:
        name = getattr(identity, kind)
        if name is not None and (problem := name_problem(name)):
            fix = "write a name without spaces, commas and *, or leave it out"
            raise fail(f"{key}.{kind}", name, problem, fix)


def check_token_budgets(config: Config, fail: Fail) -> None:
    """Check every [[token_budget]].

    Raises:
        ConfigError: made by `fail`.
    """
    for number, budget in enumerate(config.token_budget):
        key = f"token_budget[{number}]"
        check_identity(key, budget, fail)
        limits = (budget.max_tokens, budget.max_cost_usd, budget.allowed_models)
        if all(limit is None for limit in limits):
            fix = "add max_tokens, max_cost_usd or allowed_models"
            raise fail(key, budget.period, "limits nothing", fix)
        _check_patterns(f"{key}.allowed_models", budget.allowed_models or (), config, fail)


def check_governed_models(models: ModelsSection, config: Config, fail: Fail) -> None:
    """Check [models]: its patterns, and the identities of its rules and overrides.

    Raises:
        ConfigError: made by `fail`.
    """
    for tier in ("standard", "premium", "restricted"):
        _check_patterns(f"models.{tier}", getattr(models, tier), config, fail)
    for number, rule in enumerate(models.rule):
        check_identity(f"models.rule[{number}]", rule, fail)
    for number, override in enumerate(models.override):
        key = f"models.override[{number}]"
        check_identity(key, override, fail)
        if override.org is override.team is override.user is None:
            fix = "name its org, team or user"
            raise fail(key, override.models, "is an override for everybody", fix)
        _check_patterns(f"{key}.models", override.models, config, fail)


def _check_patterns(key: str, patterns: tuple[str, ...], config: Config, fail: Fail) -> None:
    for pattern in patterns:
        provider = pattern.partition("/")[0]
        is_plain = not any(character in provider for character in "*?[")
        # A pattern for a provider that is not there would say nothing, in silence.
        if is_plain and pattern != provider and provider not in config.providers:
            fix = did_you_mean(provider, config.providers)
            raise fail(key, pattern, "names no provider of this config", fix)
        if is_plain and pattern == provider:
            fix = 'write PROVIDER/MODEL, or a pattern such as "ollama/*"'
            raise fail(key, pattern, "names no model", fix)


def models_of(model: str, config: Config) -> tuple[str, ...]:
    """Return the models that a worker may get for what it asks for: a class has several."""
    if config.routing is not None and model in CLASSES:
        found: tuple[str, ...] = getattr(config.routing, model)
        return found
    return (model,) if model else ()


def check_routing(config: Config, fail: Fail) -> None:
    """Check [routing]: its models are of this config, and no rule leads to a class without any.

    Raises:
        ConfigError: made by `fail`.
    """
    if config.routing is None:
        return
    for name in CLASSES:
        for model in getattr(config.routing, name):
            check_model(f"routing.{name}", model, model, config, fail)
    for number, rule in enumerate(config.routing.rule):
        if not getattr(config.routing, rule.use):
            fix = f"give [routing] {rule.use} a model"
            raise fail(f"routing.rule[{number}].use", rule.use, "has no models", fix)


def check_fallback(key: str, worker: WorkerSection, config: Config, fail: Fail) -> None:
    """Check the models behind a worker's own: each is one, and another one.

    Raises:
        ConfigError: made by `fail`.
    """
    seen = {worker.model}
    for model in worker.fallback:
        if model in CLASSES:
            fix = "write PROVIDER/MODEL: a class is for `model`"
            raise fail(key, model, "is a class of models", fix)
        check_model(key, model, model, config, fail)
        if model in seen:
            fix = "name each model once, and not the worker's own"
            raise fail(key, model, "is asked already when this is reached", fix)
        seen.add(model)


def check_asked(key: str, model: str, config: Config, fail: Fail) -> None:
    """Check what a worker asks for: a model, or a class that has models.

    Raises:
        ConfigError: made by `fail`.
    """
    if model not in CLASSES:
        check_model(key, model, model, config, fail)
    elif config.routing is None or not getattr(config.routing, model):
        raise fail(key, model, "is a class without models", f"give [routing] {model} a model")
