"""Judging what a unit of work hands over before it counts as ok; pure but for a worker's own."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TypeAlias

import msgspec

from supervisor.clock import iso
from supervisor.errors import OutputRejected, storable, text_of
from supervisor.governance.outputs import Output, Remembered
from supervisor.redaction import REDACTION

_SHOWN_MAX = 60
_WHY_MAX = 400

#: A worker's own: it says what is wrong, or None where nothing is.
OwnCheck: TypeAlias = Callable[[Sequence[Output]], "str | Awaitable[str | None] | None"]


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """All that one tick hands over, and the worker's newest outputs before it."""

    outputs: Sequence[Output]
    now: datetime
    known: Sequence[Remembered] = ()
    is_noop: bool = False


Check: TypeAlias = Callable[[Unit], "str | None"]


class Checks(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """[worker.NAME.output], parsed: what is asked of each unit, in the order of the config."""

    names: tuple[str, ...] = ()
    duplicates_among: int = 1_000
    count_expected: int | None = None
    count_ratio_max: float = 1.5
    age_max_s: float | None = None
    size_max_bytes: int = 100_000
    schema: Mapping[str, object] | None = None
    outputs_max: int = 1_000
    drafts_keep: int = 20
    own: Mapping[str, OwnCheck] = {}

    @property
    def remembered_max(self) -> int:
        """How many of the worker's outputs are remembered."""
        return self.duplicates_among if "duplicates" in self.names else 0

    @cached_property
    def _built_in(self) -> dict[str, Check]:
        return {
            "duplicates": duplicates,
            "count": lambda unit: too_many(unit, self.count_expected or 0, self.count_ratio_max),
            "empty": empty,
            "age": lambda unit: too_old(unit, self.age_max_s or 0.0),
            "size": lambda unit: too_large(unit, self.size_max_bytes),
            "schema": lambda unit: off_schema(unit, self._validate),
        }

    @cached_property
    def _validate(self) -> Callable[[object], object]:
        # Imported here: it takes 20 ms, and most workers have no schema.
        from supervisor.governance.json_schema import compiled

        return compiled(self.schema or {})

    async def judge(self, unit: Unit) -> None:
        """Ask every check, in order.

        Raises:
            OutputRejected: by the first that found something; one that fails has found something.
        """
        for name in self.names:
            try:
                found = await self._ask(name, unit)
            except Exception as error:  # noqa: BLE001 - somebody else's code: its failure is a no
                found = f"the check failed: {type(error).__name__}: {text_of(error)}"
            if found:
                raise OutputRejected(check=name, what=REDACTION.text(storable(found))[:_WHY_MAX])

    async def _ask(self, name: str, unit: Unit) -> str | None:
        own = self.own.get(name)
        if own is None:
            return self._built_in[name](unit)
        found = own(unit.outputs)
        told: object = await found if inspect.isawaitable(found) else found
        if told is not None and not isinstance(told, str):
            return f"the check answered {told!r}, which is neither a text nor None"
        return told


def duplicates(unit: Unit) -> str | None:
    """Say which output is there twice, in the unit or before it."""
    seen: dict[str, int] = {}
    for output in unit.outputs:
        seen[output.fingerprint] = seen.get(output.fingerprint, 0) + 1
    most = max(seen.values(), default=0)
    if most > 1:
        same = next(o for o in unit.outputs if seen[o.fingerprint] == most)
        total = sum(count for count in seen.values() if count > 1)
        return f"{total} of {len(unit.outputs)} outputs are duplicates: {_shown(same)}"
    before: dict[str, set[str]] = {}
    for old in unit.known:
        before.setdefault(old.fingerprint, set()).add(old.key)
    for output in unit.outputs:
        keys = before.get(output.fingerprint)
        # The same key again is the same output once more: work that was repeated after a crash.
        if keys is not None and (not output.key or output.key not in keys):
            return f"it was published before: {_shown(output)}"
    return None


def too_many(unit: Unit, expected: int, ratio_max: float) -> str | None:
    """Say that there are more outputs than `expected` times `ratio_max`."""
    count = len(unit.outputs)
    if count > expected * ratio_max:
        return (
            f"{count} outputs, where {expected} are expected and {ratio_max:g} times that at most"
        )
    return None


def empty(unit: Unit) -> str | None:
    """Say that there is nothing, or nothing in an output; a noop has nothing to hand over."""
    if not unit.outputs and not unit.is_noop:
        return "it handed nothing over; return Outcome.NOOP where there was nothing to do"
    blank = [o for o in unit.outputs if not o.text.strip() or o.content in ({}, [], None)]
    return f"{len(blank)} of {len(unit.outputs)} outputs are empty" if blank else None


def too_old(unit: Unit, age_max_s: float) -> str | None:
    """Say which output tells of a moment that is too long ago, or of one nobody has said."""
    for output in unit.outputs:
        if output.at is None:
            return f"of when it is was not said (at=): {_shown(output)}"
        if (unit.now - output.at).total_seconds() > age_max_s:
            return f"it is of {iso(output.at)}, older than {age_max_s:g} s: {_shown(output)}"
    return None


def too_large(unit: Unit, bytes_max: int) -> str | None:
    """Say which output is too large."""
    for output in unit.outputs:
        size = len(output.text.encode("utf-8", "replace"))
        if size > bytes_max:
            return f"it has {size} bytes, at most {bytes_max} are allowed: {_shown(output)}"
    return None


def off_schema(unit: Unit, validate: Callable[[object], object]) -> str | None:
    """Say which output, of those that are no reports, is not of the schema."""
    from supervisor.governance.json_schema import NotOfSchema

    for output in unit.outputs:
        if output.is_report:
            continue
        try:
            validate(output.content)
        except NotOfSchema as error:
            return f"{error}: {_shown(output)}"
    return None


def _shown(output: Output) -> str:
    start = " ".join(REDACTION.text(output.text).split())[:_SHOWN_MAX]
    return f"{output.key}: {start!r}" if output.key else repr(start)
