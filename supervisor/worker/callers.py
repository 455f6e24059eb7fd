"""On whose behalf a call is made, as a worker says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import msgspec

from supervisor.errors import InputRefused
from supervisor.identity import NOBODY, Identity, name_problem


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whose call it is, and in which conversation; empty for none."""

    identity: Identity = NOBODY
    conversation: str = ""


class CallerWords(TypedDict, total=False):
    """How a worker says it; `identity` is an `Identity`, or a mapping of org, team and user."""

    identity: Identity | Mapping[str, str] | None
    conversation: str


def parse_caller(words: CallerWords, default: Caller) -> Caller:
    """Return whose call it is; what the identity leaves out is the worker's own.

    Raises:
        InputRefused: a name can't be kept.
    """
    if not words:
        return default
    identity = parse_identity(words.get("identity"))
    conversation = words.get("conversation", "")
    if conversation:
        _check_name("conversation", conversation)
    return Caller(identity=identity.within(default.identity), conversation=conversation)


def parse_identity(given: Identity | Mapping[str, str] | None) -> Identity:
    """Return the identity that a worker or a caller has given.

    Raises:
        InputRefused: it names something else than org, team and user, or a name can't be kept.
    """
    if given is None:
        return NOBODY
    named = given if isinstance(given, Mapping) else msgspec.structs.asdict(given)
    for kind, name in named.items():
        if kind not in Identity.__struct_fields__:
            what, fix = f"names {kind!r}", "an identity has org, team and user"
            raise InputRefused(subject="identity", what=what, fix=fix)
        if name is not None:
            _check_name(kind, name)
    return Identity(**named)


def _check_name(kind: str, name: object) -> None:
    problem = name_problem(name) if isinstance(name, str) else "is no text"
    if problem:
        fix = "give a name of up to 128 characters, without spaces, commas and *"
        raise InputRefused(subject=f"{kind} {str(name)[:80]!r}", what=problem, fix=fix)
