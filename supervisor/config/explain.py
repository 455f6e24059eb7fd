"""Turning a parser's complaint into the path, the value and the cure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import msgspec

from supervisor.config.model_sections import (
    ActionTiersSection,
    ContextSection,
    IdentitySection,
    ModelOverrideSection,
    ModelRuleSection,
    ModelsSection,
    RouteRuleSection,
    RoutingSection,
    TokenBudgetSection,
)
from supervisor.config.policy_sections import (
    ActionSection,
    AutoSection,
    ConditionSection,
    EvaluatorSection,
    PolicySection,
    RiskSection,
    SessionRiskSection,
)
from supervisor.config.sections import (
    BudgetSection,
    Config,
    DrillsSection,
    HttpSection,
    LogSection,
    PriceTable,
    ProviderSection,
    RetentionSection,
    SessionSection,
    SpendSection,
    SupervisorSection,
    ValueSection,
    WorkerHttpSection,
    WorkerOutputSection,
    WorkerSection,
)
from supervisor.errors import ConfigError

_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "": Config,
    "supervisor": SupervisorSection,
    "session": SessionSection,
    "spend": SpendSection,
    "budget": BudgetSection,
    "http": HttpSection,
    "log": LogSection,
    "drills": DrillsSection,
    "retention": RetentionSection,
    "providers": ProviderSection,
    "worker": WorkerSection,
    "models": ModelsSection,
    "models.actions": ActionTiersSection,
    "models.rule": ModelRuleSection,
    "models.override": ModelOverrideSection,
    "token_budget": TokenBudgetSection,
    "routing": RoutingSection,
    "routing.rule": RouteRuleSection,
    "context": ContextSection,
    "value": ValueSection,
    "policy": PolicySection,
    "policy.auto": AutoSection,
    "policy.auto.condition": ConditionSection,
    "policy.risk": RiskSection,
    "policy.session_risk": SessionRiskSection,
    "policy.action": ActionSection,
    "policy.evaluator": EvaluatorSection,
}
#: Tables inside a worker's.
_OF_WORKER: dict[str, type[msgspec.Struct]] = {
    "http": WorkerHttpSection,
    "output": WorkerOutputSection,
    "identity": IdentitySection,
}
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_BAD_WORD = re.compile(r"Invalid enum value '(?P<word>.*)'")
_BAD_KIND = re.compile(r"Expected `(?P<kinds>[^`]*)`, got `(?P<got>[^`]*)`")
_BAD_RANGE = re.compile(r"Expected `(?P<kinds>[^`]*)` (?P<sign>[<>]=?) (?P<bound>\S+)")
_SIGNS = {"<": "less than", "<=": "at most", ">": "more than", ">=": "at least"}
_KINDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "a text in quotes",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
}


def explain(
    error: msgspec.ValidationError, raw: object, path: Path, *, under: str = ""
) -> ConfigError:
    """Return the error for a person; `under` is the dotted place of `raw` in the file."""
    text = str(error)
    match = _PATH.search(text)
    place = match["path"] if match else ""
    what = _PATH.sub("", text)
    section = _section(under, place)
    if unknown := _UNKNOWN.match(text):
        place = f"{place}.{unknown['field']}"
        known = [known.encode_name for known in msgspec.structs.fields(section)]
        what, fix = "is not a known key", did_you_mean(unknown["field"], known)
    elif missing := _MISSING.match(text):
        place = f"{place}.{missing['field']}"
        what, fix = "is missing", _how_to_set(place)
    elif word := _BAD_WORD.match(text):
        what, fix = "is not a word known here", did_you_mean(word["word"], _words(under, place))
    elif bad := _BAD_RANGE.match(text):
        bound = bad["bound"].removesuffix(".0")
        what, fix = "is out of range", f"write {_kind(bad['kinds'])}, {_SIGNS[bad['sign']]} {bound}"
    elif bad := _BAD_KIND.match(text):
        what, fix = f"is {_KINDS.get(bad['got'], bad['got'])}", _how_to_write(**bad.groupdict())
    else:
        what, fix = what[:1].lower() + what[1:], "write a value of that kind"
    found = _value_at(raw, place)
    shown = "" if found is None else f" = {found!r}"
    return ConfigError(
        subject=f"{path}: {(under + place).lstrip('.') or 'the file'}{shown}", what=what, fix=fix
    )


def _how_to_set(place: str) -> str:
    if place == ".spend" or place.endswith("daily_cap_usd"):
        return "write daily_cap_usd = 1.00 under [spend]; 0 blocks every paid call"
    return f"write {place.rpartition('.')[2]} = ... there"


def _how_to_write(kinds: str, got: str) -> str:
    is_number = got == "str" and kinds.startswith(("float", "int"))
    return f"write {_kind(kinds)}{', without quotes' if is_number else ''}"


def _kind(kinds: str) -> str:
    return " or ".join(_KINDS.get(kind, kind) for kind in kinds.split(" | ") if kind != "null")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the cure for a word that is not among the `known` ones."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known) or 'none yet'}"


def _section(under: str, place: str) -> type[msgspec.Struct]:
    """Return the section that the table at `place`, below `under`, is of."""
    if place == ".price":
        return PriceTable
    inside = re.split(r"[.\[]", place.lstrip("."))[0]
    if under.startswith("worker.") and inside in _OF_WORKER:
        return _OF_WORKER[inside]
    names = re.split(r"[.\[]", f"{under}{place}".lstrip("."))
    for length in range(len(names), 0, -1):
        section = _SECTIONS.get(".".join(names[:length]))
        if section is not None:
            return section
    return Config


def _words(under: str, place: str) -> Iterator[str]:
    table, _, key = place.rpartition(".")
    for field in msgspec.structs.fields(_section(under, table)):
        if field.encode_name == key:
            yield from _literals(field.type)


def _literals(kind: object) -> Iterator[str]:
    for inside in get_args(kind):
        if isinstance(inside, str):
            yield inside
        yield from _literals(inside)


def _value_at(raw: object, place: str) -> object:
    for step in _steps(place):
        if isinstance(raw, dict):
            raw = raw.get(step)
        elif isinstance(raw, list) and step.isdecimal():
            raw = raw[int(step)]
        else:
            return None
    return raw if isinstance(raw, str | int | float | bool) else None


def _steps(place: str) -> Iterator[str]:
    for key, index in re.findall(r"\.([^.\[]+)|\[([^\]]+)\]", place):
        yield key or index
