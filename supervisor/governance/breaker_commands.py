"""A person's command on a breaker: close it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from supervisor.errors import NotFound, UsageError
from supervisor.events.log import Origin
from supervisor.governance.breaker import BreakerState, all_breakers, find_breaker
from supervisor.governance.breakers import close_by_hand
from supervisor.governance.commands import once
from supervisor.governance.rotation import system_journal
from supervisor.storage.database import Transaction

_WHY_MAX = 500


class CloseBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """Close a breaker by its name; the same command twice is one."""

    name: str
    why: str


class ClosedBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """What the command did: `was` is the state before; nothing changed where that is closed."""

    name: str
    was: str
    changed: bool


def close_breaker(
    tx: Transaction, command: CloseBreaker, origin: Origin, timezone: ZoneInfo
) -> ClosedBreaker:
    """Close a breaker in the name of the origin's actor: its failures and backoff begin anew.

    Raises:
        UsageError: no reason is given.
        NotFound: there is no breaker of that name.
        CommandConflict: the command id was used for something else.
    """
    if not command.why.strip() or len(command.why) > _WHY_MAX:
        raise UsageError(
            subject=f"breaker {command.name}",
            what=f"the reason is empty or longer than {_WHY_MAX} characters",
            fix="say why, in a sentence: it stands in the record",
        )
    return once(
        tx,
        "close_breaker",
        command,
        origin,
        result=ClosedBreaker,
        perform=lambda: _close(tx, command, origin, timezone),
    )


def _close(
    tx: Transaction, command: CloseBreaker, origin: Origin, timezone: ZoneInfo
) -> ClosedBreaker:
    breaker = find_breaker(tx, command.name)
    if breaker is None:
        known = ", ".join(other.name for other in all_breakers(tx)) or "none has ever opened"
        raise NotFound(
            subject=f"breaker {command.name}"[:200],
            what="has never opened, nor counted a failure; nothing was done",
            fix=f"`supervisor breakers` lists them; there is: {known}",
        )
    is_open = breaker.state is not BreakerState.CLOSED
    if is_open or breaker.failures:
        with system_journal(tx, timezone, origin) as journal:
            close_by_hand(tx, journal, breaker, why=command.why)
    return ClosedBreaker(name=breaker.name, was=breaker.state, changed=is_open)
