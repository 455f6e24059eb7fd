"""Turning a parser's complaint into the path, the value and the cure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from supervisor.config.sections import (
    BudgetSection,
    Config,
    HttpSection,
    LogSection,
    PriceTable,
    ProviderSection,
    SessionSection,
    SpendSection,
    SupervisorSection,
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
    "providers": ProviderSection,
    "worker": WorkerSection,
}
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")


def explain(
    error: msgspec.ValidationError, raw: object, path: Path, *, under: str = ""
) -> ConfigError:
    """Return the error for a person; `under` is the dotted place of `raw` in the file."""
    text = str(error)
    match = _PATH.search(text)
    place = match["path"] if match else ""
    what = _PATH.sub("", text)
    if unknown := _UNKNOWN.match(text):
        place = f"{place}.{unknown['field']}"
        what, fix = "is not a known key", _nearest(unknown["field"], f"{under}{place}")
    elif missing := _MISSING.match(text):
        place = f"{place}.{missing['field']}"
        what, fix = "is missing", _how_to_set(place)
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


def _nearest(field: str, place: str) -> str:
    steps = [step for step in re.split(r"[.\[]", place) if step]
    section = PriceTable if "price" in steps[:-1] else _SECTIONS[steps[0] if steps[1:] else ""]
    known = [known.encode_name for known in msgspec.structs.fields(section)]
    near = difflib.get_close_matches(field, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"


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
