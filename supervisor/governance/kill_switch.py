"""The kill switch: a latched fact that every gate obeys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import to_us
from supervisor.errors import KillSwitchEngaged, NotFound, UsageError
from supervisor.events import kinds
from supervisor.events.log import Origin
from supervisor.governance.commands import once
from supervisor.governance.rotation import find_session, system_journal
from supervisor.storage.database import Transaction

_SCOPE = re.compile(r"system|worker:[A-Za-z0-9_.-]{1,64}|session:[^\s]{1,200}")
WHY_MAX = 500


class Latch(msgspec.Struct, frozen=True, kw_only=True):
    """A kill as stored; `scope` is `system`, `worker:NAME` or `session:ID`."""

    scope: str
    is_engaged: bool
    actor: str
    why: str
    at: int


class KillCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Engage or release a kill; the same command twice is one."""

    scope: str
    why: str


class Latched(msgspec.Struct, frozen=True, kw_only=True):
    """What a kill command did: `changed` is False where it stood so already."""

    scope: str
    is_engaged: bool
    changed: bool


def engage(tx: Transaction, command: KillCommand, origin: Origin, timezone: ZoneInfo) -> Latched:
    """Latch a kill; it holds through restart, rotation and reload until it is released.

    Raises:
        UsageError: the scope is not one, or no reason is given.
        NotFound: the session does not exist.
        CommandConflict: the command id was used for something else.
    """
    return _set(tx, command, origin, timezone, is_engaged=True)


def release(tx: Transaction, command: KillCommand, origin: Origin, timezone: ZoneInfo) -> Latched:
    """Unlatch a kill, in the name of the origin's actor.

    Raises:
        UsageError, NotFound, CommandConflict: as for `engage`.
    """
    return _set(tx, command, origin, timezone, is_engaged=False)


def _set(
    tx: Transaction, command: KillCommand, origin: Origin, timezone: ZoneInfo, *, is_engaged: bool
) -> Latched:
    operation = "kill" if is_engaged else "release"
    return once(
        tx,
        operation,
        command,
        origin,
        result=Latched,
        perform=lambda: _turn(tx, command, origin, timezone, is_engaged=is_engaged),
    )


def _turn(
    tx: Transaction, command: KillCommand, origin: Origin, timezone: ZoneInfo, *, is_engaged: bool
) -> Latched:
    _check(tx, command)
    scope = command.scope
    latch = tx.row("governance.latch", Latch, scope=scope)
    was_engaged = latch is not None and latch.is_engaged
    if was_engaged == is_engaged:
        return Latched(scope=scope, is_engaged=is_engaged, changed=False)
    tx.run(
        "governance.set_latch",
        scope=scope,
        is_engaged=is_engaged,
        actor=origin.actor,
        why=command.why,
        now=to_us(origin.at),
    )
    kind = kinds.KillSwitchEngaged if is_engaged else kinds.KillSwitchReleased
    with system_journal(tx, timezone, origin) as journal:
        journal.add(kind(scope=scope, why=command.why))
    return Latched(scope=scope, is_engaged=is_engaged, changed=True)


def _check(tx: Transaction, command: KillCommand) -> None:
    if not _SCOPE.fullmatch(command.scope):
        raise UsageError(
            subject=f"scope {command.scope[:80]!r}",
            what="is not a scope of the kill switch",
            fix='use "system", "worker:NAME" or "session:ID"',
        )
    if not command.why.strip() or len(command.why) > WHY_MAX:
        raise UsageError(
            subject=f"kill switch {command.scope}",
            what=f"the reason is empty or longer than {WHY_MAX} characters",
            fix="say why, in a sentence: it stands in the record",
        )
    kind, _, name = command.scope.partition(":")
    if kind == "session" and find_session(tx, name) is None:
        raise NotFound(
            subject=f"session {name}",
            what="does not exist",
            fix="`supervisor sessions` lists them",
        )


def engaged(tx: Transaction) -> list[Latch]:
    """Return every kill that is latched."""
    return tx.rows("governance.engaged_latches", Latch)


def applying(
    latches: Sequence[Latch], *, worker: str, session_id: str | None
) -> KillSwitchEngaged | None:
    """Return the refusal of the smallest kill that reaches the worker (requirement K4)."""
    if not latches:
        return None
    by_scope = {latch.scope: latch for latch in latches}
    for scope in (f"session:{session_id}", f"worker:{worker}", "system"):
        latch = by_scope.get(scope)
        if latch is not None:
            return KillSwitchEngaged(scope=scope, actor=latch.actor, why=latch.why)
    return None
