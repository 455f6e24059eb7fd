"""What a limit is on: the words of a scope, and which calls fall under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.identity import Identity

if TYPE_CHECKING:
    from supervisor.ledger.accounts import Call

SYSTEM = "system"
SESSION = "session"
#: Those of an identity, in the order in which a scope names several.
IDENTITY_KINDS = ("org", "team", "user")
EACH = "*"


def scope_parts(scope: str) -> dict[str, str]:
    """Return what a scope names, by kind; empty for `system` and for the template `session`."""
    if scope.startswith(IDENTITY_KINDS):
        return dict(_part(part) for part in scope.split(","))
    return dict([_part(scope)]) if ":" in scope else {}


def _part(part: str) -> tuple[str, str]:
    kind, _, name = part.partition(":")
    return kind, name


def identity_scope(identity: Identity) -> str:
    """Return the scope of all calls that `identity` covers."""
    return SYSTEM if identity == Identity() else str(identity)


def scope_for(template: str, call: Call) -> str | None:
    """Return the scope on which a limit on `template` counts a call, None where it does not.

    `user:*` is each user's own, as `session` is each session's.
    """
    if template == SYSTEM:
        return SYSTEM
    if template == SESSION:
        return f"{SESSION}:{call.session_id}" if call.session_id else None
    parts: list[str] = []
    for kind, name in scope_parts(template).items():
        actual = _name_in(call, kind)
        if not actual or name not in (EACH, actual):
            return None
        parts.append(f"{kind}:{actual}")
    return ",".join(parts)


def _name_in(call: Call, kind: str) -> str | None:
    match kind:
        case "worker":
            return call.worker
        case "model":
            return call.model
        case "conversation":
            return call.conversation
        case "org":
            return call.identity.org
        case "team":
            return call.identity.team
        case "user":
            return call.identity.user
    raise AssertionError(f"a scope has no {kind}: the config refuses it")


def is_under(scope: str, template: str) -> bool:
    """Return whether the account of `scope` is one of those that a limit on `template` makes."""
    if template == SESSION:
        return scope.startswith(f"{SESSION}:")
    named, asked = scope_parts(scope), scope_parts(template)
    if not named or not asked:
        return scope == template
    return list(named) == list(asked) and all(
        asked[kind] in (EACH, name) for kind, name in named.items()
    )


def is_template(scope: str) -> bool:
    """Return whether a limit on this scope makes many accounts, so that none stands by itself."""
    return scope == SESSION or EACH in scope_parts(scope).values()
