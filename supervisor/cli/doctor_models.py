"""What `supervisor doctor` finds of the models that the config names: reachable, known, priced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from supervisor.assembly import build_models
from supervisor.clock import SystemClock
from supervisor.config import Config, Loaded
from supervisor.config.budget_checks import CLASSES, models_of
from supervisor.errors import ConfigError, PriceUnknown
from supervisor.maintenance.doctor_site import Finding
from supervisor.providers.catalogue import look_at
from supervisor.worker.models import Models

_Used = Mapping[str, Sequence[str]]


def examine_models(loaded: Loaded) -> Iterator[Finding]:
    """Ask each provider for its models, without a call that could cost, and look up each price."""
    # A shell has not the service's keys: their providers are asked without.
    secrets = {name: loaded.secrets[name] for name in loaded.known_secrets}
    loaded = msgspec.structs.replace(loaded, secrets=secrets)
    used = used_models(loaded.config)
    for name in used:
        variable = loaded.config.providers[name].api_key_env
        if variable and loaded.secret(variable) is None:
            what = f"${variable} is not set in this shell: whether the key is right can't be told"
            fix = "set it here as the service has it, and ask again"
            yield Finding(area=f"provider {name}", what=what, fix=fix, is_hint=True)
    try:
        yield from asyncio.run(_look(loaded, used))
    except ConfigError as error:
        yield Finding(area="config", what=f"{error.subject}: {error.what}", fix=error.fix)


def used_models(config: Config) -> _Used:
    """Return the models that workers may ask for, by their provider."""
    asked = [name for worker in config.worker.values() for name in (worker.model, *worker.fallback)]
    classes = CLASSES if config.routing is not None else ()
    used: dict[str, list[str]] = {}
    for full_name in sorted(
        {n for one in (*asked, *classes) for n in models_of(one or "", config)}
    ):
        provider, _, model = full_name.partition("/")
        used.setdefault(provider, []).append(model)
    return used


async def _look(loaded: Loaded, used: _Used) -> list[Finding]:
    models = build_models(loaded)
    try:
        found = [one for name, wanted in used.items() for one in _unpriced(models, name, wanted)]
        for name, wanted in used.items():
            variable = loaded.config.providers[name].api_key_env
            has_key = not variable or loaded.secret(variable) is not None
            wrong = look_at(name, models.provider(name), wanted, has_key=has_key)
            found += [Finding(area=w.subject, what=w.what, fix=w.fix) async for w in wrong]
        return found
    finally:
        await models.close()


def _unpriced(models: Models, provider: str, wanted: Sequence[str]) -> Iterator[Finding]:
    for model in wanted:
        try:
            models.resolve(f"{provider}/{model}", SystemClock().now())
        except PriceUnknown as error:
            what = f"{error.what}: each call of it is refused"
            yield Finding(area=f"model {provider}/{model}", what=what, fix=error.fix)
