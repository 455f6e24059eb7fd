"""Recording, in a store that was put back, that it was, so that nothing is refunded by it."""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.events import kinds, upkeep_kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.breakers import reopen
from supervisor.governance.commands import once
from supervisor.governance.kept import BackupFacts, Kept, backup_facts, holds_since
from supervisor.governance.kill_switch import Latch, engaged
from supervisor.governance.restored_approvals import (
    end_approvals,
    end_grants,
    end_tickets,
)
from supervisor.governance.rotation import open_session_of, pause_session, system_journal
from supervisor.governance.session import DAEMON_STOPPED, SessionStatus
from supervisor.ledger.carrying import (
    Used,
    add_spent,
    carry_holds,
    raise_to,
    running_accounts,
    used_since,
)
from supervisor.ledger.gaps import Spent, keep_gap
from supervisor.ledger.holds import find_account
from supervisor.storage.database import Transaction

#: What a restore finds nothing about: whoever releases it has looked (requirement K5).
_UNKNOWN_KILLS = "what was killed since the backup is not known"


class RestoreCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Put a backup back, for a reason; `spent` is what a person says was spent since it."""

    backup_sha256: str
    why: str
    spent: Spent = Spent()


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What was done; `carried` are the accounts that were raised, `latched` the new kills.

    `approvals`, `grants` and `tickets` are how many were ended that were not used, not used up or
    not decided in the backup.
    """

    backup_at: str
    is_known: bool
    kept_as: str
    carried: tuple[str, ...]
    latched: tuple[str, ...]
    approvals: int = 0
    grants: int = 0
    tickets: int = 0


def record_restore(
    tx: Transaction,
    command: RestoreCommand,
    kept: Kept | None,
    origin: Origin,
    timezone: ZoneInfo,
    kept_as: str = "",
) -> Restored:
    """Make a store that was just put back safe to start on; see docs/decisions/0025.

    `kept` is what the store before it knew, None where that can't be read or proved. `kept_as` is
    where that one lies now.

    Raises:
        CommandConflict: the command id was used for something else.
    """

    def perform() -> Restored:
        return _record(tx, command, kept, origin, timezone, kept_as)

    return once(tx, "restore", command, origin, result=Restored, perform=perform)


def _record(
    tx: Transaction,
    command: RestoreCommand,
    kept: Kept | None,
    origin: Origin,
    timezone: ZoneInfo,
    kept_as: str,
) -> Restored:
    facts = backup_facts(tx)
    moment_us = max(facts.ledger_at, to_us(origin.at) if kept is None else kept.ledger_at)
    tx.run("ledger.set_clock", now=moment_us)
    with system_journal(tx, timezone, origin) as journal:
        journal.add(_event(command, facts, kept, kept_as))
        if kept is None:
            carried = _fear(tx, journal, command.spent, facts, moment_us)
            latches: list[Latch] = [_fear_kills(command, origin)]
        else:
            carried = _carry(tx, journal, kept, facts, moment_us)
            latches = [*kept.latches, *_latches_for_paused(tx, kept, origin)]
        # By the restore, and by no command `kill` of their own.
        by_restore = msgspec.structs.replace(
            origin, command_id="", correlation_id=origin.command_id
        )
        journal.origin = by_restore
        latched = [latch.scope for latch in latches if _latch(tx, journal, latch)]
        if kept is not None:
            _open_breakers(tx, journal, kept)
    if kept is not None:
        _pause(tx, kept, origin)
    return Restored(
        approvals=end_approvals(tx, by_restore, timezone),
        grants=end_grants(tx),
        tickets=end_tickets(tx, by_restore, timezone, waiting=() if kept is None else kept.tickets),
        backup_at=iso(from_us(facts.at)),
        is_known=kept is not None,
        kept_as=kept_as,
        carried=tuple(carried),
        latched=tuple(latched),
    )


def _event(
    command: RestoreCommand, facts: BackupFacts, kept: Kept | None, kept_as: str
) -> upkeep_kinds.StoreRestored:
    spent = command.spent if kept is None else Spent()
    return upkeep_kinds.StoreRestored(
        backup_at=facts.at,
        backup_sha256=command.backup_sha256,
        is_known=kept is not None,
        kept_as=kept_as,
        why=command.why,
        cost=spent.cost,
        tokens=spent.tokens,
        actions=spent.actions,
    )


# --- money


def _carry(
    tx: Transaction, journal: Journal, kept: Kept, facts: BackupFacts, moment_us: int
) -> list[str]:
    """Count what the store before knew to be spent, and return the accounts that this raised."""
    why = "carried over from the store before the restore"
    raised = []
    for account in kept.accounts:
        stored = None if kept.is_descendant else find_account(tx, account.id)
        used = account.used + (0 if stored is None else stored.used)
        if raise_to(tx, journal, account, used, why=why):
            raised.append(account.id)
    before = {one.whose: one for one in used_since(tx, holds_since(facts))}
    if not kept.is_descendant:
        before = {}
    missing = [one for one in (_missing(one, before) for one in kept.used) if one is not None]
    carry_holds(tx, journal, missing, moment_us=moment_us, why=why)
    return raised


def _missing(one: Used, before: Mapping[tuple[str, ...], Used]) -> Used | None:
    known = before.get(one.whose)
    if known is None:
        known = msgspec.structs.replace(one, cost=0, tokens=0, actions=0)
    missing = msgspec.structs.replace(
        one,
        cost=max(one.cost - known.cost, 0),
        tokens=max(one.tokens - known.tokens, 0),
        actions=max(one.actions - known.actions, 0),
    )
    return missing if missing.cost or missing.tokens or missing.actions else None


def _fear(
    tx: Transaction, journal: Journal, spent: Spent, facts: BackupFacts, moment_us: int
) -> list[str]:
    """Count what was said to be spent, else all that each limit allows; also on later accounts."""
    why = "spent between the backup and its restore, as far as can be known"
    keep_gap(
        tx,
        journal.origin.command_id,
        spent,
        began=from_us(facts.at),
        ended=from_us(moment_us),
    )
    accounts = running_accounts(tx, moment_us)
    return [one.id for one in accounts if add_spent(tx, journal, one, spent, why=why)]


# --- kills, pauses, breakers


def _fear_kills(command: RestoreCommand, origin: Origin) -> Latch:
    why = f"restored ({command.why}): {_UNKNOWN_KILLS}"
    return Latch(scope="system", is_engaged=True, actor=origin.actor, why=why, at=to_us(origin.at))


def _latches_for_paused(tx: Transaction, kept: Kept, origin: Origin) -> list[Latch]:
    """Return a kill for each worker that waited for a person and has no open session to pause."""
    return [
        Latch(
            scope=f"worker:{paused.worker}",
            is_engaged=True,
            actor=origin.actor,
            why=f"its session was paused before the restore: {paused.why}",
            at=to_us(origin.at),
        )
        for paused in kept.paused
        if open_session_of(tx, paused.worker) is None
    ]


def _latch(tx: Transaction, journal: Journal, latch: Latch) -> bool:
    if any(known.scope == latch.scope for known in engaged(tx)):
        return False
    tx.run(
        "governance.set_latch",
        scope=latch.scope,
        is_engaged=True,
        actor=latch.actor,
        why=latch.why,
        now=latch.at,
    )
    journal.add(kinds.KillSwitchEngaged(scope=latch.scope, why=latch.why))
    return True


def _open_breakers(tx: Transaction, journal: Journal, kept: Kept) -> None:
    for breaker in kept.breakers:
        # A half-open one had let its probe through, and nobody knows how that went.
        reopen(tx, journal, breaker)


def _pause(tx: Transaction, kept: Kept, origin: Origin) -> None:
    """Let workers that waited for a person go on waiting, in the session that they have now."""
    for paused in kept.paused:
        session = open_session_of(tx, paused.worker)
        if session is None:
            continue
        why = f"paused before the restore: {paused.why}"
        if session.status is SessionStatus.ACTIVE:
            pause_session(tx, session, origin, why=why)
        elif session.why == DAEMON_STOPPED:
            tx.run("sessions.move", id=session.id, status=SessionStatus.PAUSED, why=why)
