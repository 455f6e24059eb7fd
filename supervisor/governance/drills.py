"""Drills on record: asked for, taken up, passed or failed."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.errors import IllegalMove
from supervisor.events import upkeep_kinds
from supervisor.events.log import Origin
from supervisor.governance.commands import once
from supervisor.governance.kill_switch import Latch
from supervisor.governance.rotation import system_journal
from supervisor.storage.database import Transaction

#: The worker that is killed on purpose; no worker of a config may have its name.
CANARY = "canary"
CANARY_SCOPE = f"worker:{CANARY}"
#: What the reason of a drill's own kill begins with, so that it is told from a person's.
KILL_WHY = "drill "


class Drill(StrEnum):
    """What can be rehearsed. Each has a runner in maintenance/drilling.py, a key in [drills]."""

    KILL = "kill"
    APPROVALS = "approvals"
    RESTORE = "restore"


#: A drill without a verdict after that long has died with whoever held it. A restore's copies and
#: audit take as long as the store is large.
_LOST_AFTER = {
    Drill.KILL: timedelta(minutes=1),
    Drill.APPROVALS: timedelta(minutes=10),
    Drill.RESTORE: timedelta(hours=1),
}


class DrillStatus(StrEnum):
    """Where a drill stands; nothing leaves the last two."""

    REQUESTED = "requested"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a drill went; `measured_s` is the span that it measured, `what` says it in words."""

    drill: Drill
    id: str
    passed: bool
    measured_s: float
    what: str


class DrillRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A drill as stored; moments in microseconds since 1970 UTC."""

    id: str
    drill: Drill
    status: DrillStatus
    actor: str
    boot_id: str
    asked_at: int
    ended_at: int | None
    measured_us: int
    what: str

    @property
    def verdict(self) -> Verdict | None:
        """Its verdict, None as long as there is none."""
        if self.ended_at is None:
            return None
        return Verdict(
            drill=self.drill,
            id=self.id,
            passed=self.status is DrillStatus.PASSED,
            measured_s=self.measured_us / 1_000_000,
            what=self.what,
        )


class BeginCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a drill; its id is the command's."""

    drill: Drill


class _LastPass(msgspec.Struct, frozen=True):
    drill: str
    at: int


def begin(tx: Transaction, drill: Drill, origin: Origin, timezone: ZoneInfo) -> Verdict | None:
    """Put a drill on record as asked for; its id is the command id.

    Returns its verdict where this very command has led to one before, else None: now hold it.

    Raises:
        IllegalMove: one of its kind is under way, perhaps this one.
        CommandConflict: the command id was used for something else.
    """
    was_asked = find(tx, origin.command_id)
    command = BeginCommand(drill=drill)
    once(
        tx,
        "drill",
        command,
        origin,
        result=BeginCommand,
        perform=lambda: _begin(tx, command, origin, timezone),
    )
    if was_asked is None:
        return None
    if was_asked.verdict is None:
        raise _is_under_way(was_asked)
    return was_asked.verdict


def _begin(
    tx: Transaction, command: BeginCommand, origin: Origin, timezone: ZoneInfo
) -> BeginCommand:
    for record in under_way(tx, command.drill):
        if origin.at - from_us(record.asked_at) < _LOST_AFTER[command.drill]:
            raise _is_under_way(record)
        why = "whoever held it ended before there was a verdict"
        finish(tx, _failed(record, why), origin, timezone)
    tx.run(
        "rehearsals.ask",
        id=origin.command_id,
        drill=command.drill,
        status=DrillStatus.REQUESTED,
        actor=origin.actor,
        now=to_us(origin.at),
    )
    return command


def _is_under_way(record: DrillRecord) -> IllegalMove:
    return IllegalMove(
        subject=f"drill {record.drill}",
        what=f"{record.id} is under way since {iso(from_us(record.asked_at))}",
        fix="wait for its verdict, an event of kind drill_passed or drill_failed",
    )


def _failed(record: DrillRecord, why: str) -> Verdict:
    return Verdict(drill=record.drill, id=record.id, passed=False, measured_s=0.0, what=why)


def find(tx: Transaction, drill_id: str) -> DrillRecord | None:
    """Return a drill by its id."""
    return tx.row("rehearsals.by_id", DrillRecord, id=drill_id)


def under_way(tx: Transaction, drill: Drill) -> list[DrillRecord]:
    """Return the drills of a kind that have no verdict yet, the oldest first."""
    return tx.rows("rehearsals.under_way", DrillRecord, drill=drill)


def take_up(tx: Transaction, drill_id: str, boot_id: str) -> bool:
    """Let one daemon carry out a drill that was asked for; return whether it is this one."""
    return tx.run("rehearsals.take_up", id=drill_id, boot_id=boot_id) == 1


def finish(tx: Transaction, verdict: Verdict, origin: Origin, timezone: ZoneInfo) -> bool:
    """Record the verdict and its event; return False where there was one already."""
    status = DrillStatus.PASSED if verdict.passed else DrillStatus.FAILED
    ended = tx.run(
        "rehearsals.finish",
        id=verdict.id,
        status=status,
        now=to_us(origin.at),
        measured_us=round(verdict.measured_s * 1_000_000),
        what=verdict.what,
    )
    if not ended:
        return False
    event: upkeep_kinds.DrillPassed | upkeep_kinds.DrillFailed
    if verdict.passed:
        event = upkeep_kinds.DrillPassed(
            drill=verdict.drill, id=verdict.id, measured_s=verdict.measured_s, what=verdict.what
        )
    else:
        event = upkeep_kinds.DrillFailed(drill=verdict.drill, id=verdict.id, why=verdict.what)
    with system_journal(tx, timezone, origin) as journal:
        journal.add(event)
    return True


def last_passes(tx: Transaction) -> dict[str, int]:
    """Return when each drill that was ever passed was last passed, in microseconds."""
    return {row.drill: row.at for row in tx.rows("rehearsals.last_passes", _LastPass)}


def last_end(tx: Transaction, drill: Drill) -> DrillRecord | None:
    """Return the last drill of a kind that has a verdict."""
    return tx.row("rehearsals.last_end", DrillRecord, drill=drill)


def canary_latch(tx: Transaction) -> Latch | None:
    """Return the kill of the canary, None where it is not engaged."""
    latch = tx.row("governance.latch", Latch, scope=CANARY_SCOPE)
    return latch if latch is not None and latch.is_engaged else None
