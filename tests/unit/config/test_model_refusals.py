"""Every bad value of limits, identities and models is refused with its path and the cure."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import Refusal
from tests.unit.config.test_config_refusals import EVERY, WORKER

#: text, the key with its value as the message shows them, what the cure names
BAD_VALUES = {
    "scope": (
        '[[budget]]\nscope = "workers"\nperiod = "day"\nmax_cost_usd = 1.0\n',
        "budget[0].scope = 'workers'",
        'use "system", "session", or a kind and a name: worker:, model:',
    ),
    "scope of two kinds that can't be joined": (
        '[[budget]]\nscope = "worker:a,user:ann"\nperiod = "day"\nmax_cost_usd = 1.0\n',
        "budget[0].scope = 'worker:a,user:ann'",
        "joins what can't be joined; join org, team and user only, in this order",
    ),
    "scope of joined kinds in another order": (
        '[[budget]]\nscope = "user:ann,org:acme"\nperiod = "day"\nmax_cost_usd = 1.0\n',
        "budget[0].scope = 'user:ann,org:acme'",
        "joins what can't be joined",
    ),
    "scope without a name": (
        '[[budget]]\nscope = "user:"\nperiod = "day"\nmax_cost_usd = 1.0\n',
        "budget[0].scope = 'user:'",
        'has a name that is empty; name the user, or write "user:*" for each one\'s own',
    ),
    "budget of each session that is there already": (
        '[[budget]]\nscope = "session"\nperiod = "session"\nmax_cost_usd = 1.0\n',
        "budget = 'session'",
        "set [session] max_cost_usd instead",
    ),
    "budget of a session for ever": (
        '[[budget]]\nscope = "session"\nperiod = "unlimited"\nmax_tokens = 1\n',
        "budget[0].period = 'unlimited'",
        "is longer than a session",
    ),
    "identity with a space": (
        EVERY + 'identity = { org = "acme inc" }\n',
        "worker.a.identity.org = 'acme inc'",
        "has a space, a comma, a *",
    ),
    "identity of a kind that there is not": (
        EVERY + 'identity = { orgs = "acme" }\n',
        "worker.a.identity.orgs = 'acme'",
        "is not a known key; did you mean 'org'?",
    ),
    "class without models": (
        WORKER + 'every_s = 1.0\nmodel = "cheap"\n',
        "worker.a.model = 'cheap'",
        "is a class without models; give [routing] cheap a model",
    ),
    "fallback to a class": (
        WORKER + 'every_s = 1.0\nfallback = ["cheap"]\n',
        "worker.a.fallback = 'cheap'",
        "is a class of models; write PROVIDER/MODEL",
    ),
    "fallback to a model of no provider": (
        WORKER + 'every_s = 1.0\nfallback = ["cloud/large"]\n',
        "worker.a.fallback = 'cloud/large'",
        "names no provider of this config",
    ),
    "fallback to the model itself": (
        '[providers.b]\nkind = "builtin"\n'
        + WORKER
        + 'every_s = 1.0\nmodel = "b/x"\nfallback = ["b/x"]\n',
        "worker.a.fallback = 'b/x'",
        "is asked already when this is reached; name each model once",
    ),
    "fallback whose key is missing": (
        '[providers.c]\nkind = "anthropic"\napi_key_env = "NO_SUCH_KEY"\n'
        '[providers.b]\nkind = "builtin"\n'
        + WORKER
        + 'every_s = 1.0\nmodel = "b/x"\nfallback = ["c/y"]\n',
        "worker.a.model = 'c/y'",
        "needs the API key of provider c, and $NO_SUCH_KEY is not set",
    ),
    "class with a model of no provider": (
        '[routing]\nbest = ["cloud/large"]\n',
        "routing.best = 'cloud/large'",
        "names no provider of this config",
    ),
    "rule that leads to a class without models": (
        '[[routing.rule]]\nuse = "best"\n',
        "routing.rule[0].use = 'best'",
        "has no models",
    ),
    "rule with an unknown class": (
        '[[routing.rule]]\nuse = "bset"\n',
        "routing.rule[0].use = 'bset'",
        "is not a word known here; did you mean 'best'?",
    ),
    "token budget that limits nothing": (
        '[[token_budget]]\norg = "acme"\nperiod = "day"\n',
        "token_budget[0] = 'day'",
        "limits nothing; add max_tokens, max_cost_usd or allowed_models",
    ),
    "override for everybody": (
        '[providers.b]\nkind = "builtin"\n[[models.override]]\nmodels = ["b/x"]\n',
        "models.override[0]",
        "is an override for everybody; name its org, team or user",
    ),
    "tier of a provider that is not there": (
        '[models]\nstandard = ["olama/*"]\n[providers.ollama]\nkind = "builtin"\n',
        "models.standard = 'olama/*'",
        "names no provider of this config; did you mean 'ollama'?",
    ),
    "key that a rule of models has not": (
        '[[models.rule]]\nuser = "ann"\ntiers = ["standard"]\n',
        "models.rule[0].tiers",
        "is not a known key; known here: org, team, user, allow",
    ),
    "context budget of nothing": (
        "[context]\ncall_tokens_max = 0\n",
        "context.call_tokens_max = 0",
        "is out of range",
    ),
}


@pytest.mark.parametrize(("text", "key", "cure"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_a_bad_value_of_a_limit_or_a_model_is_refused_with_the_cure(
    refusal: Refusal, text: str, key: str, cure: str
) -> None:
    error = refusal(text)
    assert error.subject.endswith(f"config.toml: {key}") or f"config.toml: {key} =" in error.subject
    assert cure in f"{error.what}; {error.fix}"
