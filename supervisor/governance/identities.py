"""Names of whoever a call is made for, as somebody's code gives them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from supervisor.errors import InputRefused
from supervisor.identity import NAME_MAX, NOBODY, Identity, name_problem


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
            checked_name(kind, name)
    return Identity(**named)


def checked_name(kind: str, name: object) -> str:
    """Return a name as the ledger keeps it.

    Raises:
        InputRefused: it can't be kept.
    """
    problem = name_problem(name) if isinstance(name, str) else "is no text"
    if problem:
        fix = f"give a name of up to {NAME_MAX} characters, without spaces, commas and *"
        raise InputRefused(subject=f"{kind} {str(name)[:80]!r}", what=problem, fix=fix)
    return str(name)
