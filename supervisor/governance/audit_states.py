"""Auditing what stops and steers: kills, breakers, operators' commands, the ledger's clock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, TypeVar

import msgspec

from supervisor.events import (
    alert_kinds,
    approval_kinds,
    incident_kinds,
    job_kinds,
    kinds,
    upkeep_kinds,
)
from supervisor.events.kinds import Event
from supervisor.events.log import EventRow
from supervisor.governance.audit_findings import Findings
from supervisor.governance.breaker import BreakerState
from supervisor.governance.sound_rows import TextKey, damage_text, sound_rows
from supervisor.governance.sums import StateSum, Sums
from supervisor.storage.database import Transaction

_QUARTER_US = 900_000_000

#: Which operation of the table of commands an event with a command id came of.
_OPERATIONS: Mapping[type[Event], str] = {
    kinds.KillSwitchEngaged: "kill",
    kinds.KillSwitchReleased: "release",
    kinds.RollbackCompleted: "rollback",
    kinds.HoldReconciled: "reconcile",
    alert_kinds.AlertAcknowledged: "acknowledge_alert",
    incident_kinds.IncidentOpened: "incident_open",
    incident_kinds.IncidentNoted: "incident_note",
    incident_kinds.IncidentClosed: "incident_close",
    upkeep_kinds.SessionAborted: "abort",
    upkeep_kinds.StoreRestored: "restore",
    upkeep_kinds.LedgerClockReset: "reset_clock",
    upkeep_kinds.DrillPassed: "drill",
    upkeep_kinds.DrillFailed: "drill",
    job_kinds.JobRequeued: "job_requeue",
    job_kinds.JobCancelAsked: "job_cancel",
    job_kinds.JobDiscarded: "job_discard",
    job_kinds.JobResolved: "job_resolve",
}


RowT = TypeVar("RowT", bound=msgspec.Struct)


class _Latch(msgspec.Struct, frozen=True):
    scope: str
    is_engaged: bool


class _Breaker(msgspec.Struct, frozen=True):
    """A breaker's row; one that has only counted failures has no event."""

    name: str
    state: BreakerState = BreakerState.CLOSED
    cause: str = ""
    why: str = ""
    retry_at: int = 0
    openings: int = 0


class _Command(msgspec.Struct, frozen=True):
    id: str
    content: str
    content_hash: bytes


class _Operation(msgspec.Struct, frozen=True):
    operation: str


class _LedgerClock(msgspec.Struct, frozen=True):
    at: int
    placed_at: int


class StateAudit:
    """Replays what people and breakers did. In memory is an entry for each scope and breaker."""

    #: The kinds of events that it is to be told of.
    FOLLOWS: ClassVar[tuple[type[Event], ...]] = (
        kinds.KillSwitchEngaged,
        kinds.KillSwitchReleased,
        kinds.BreakerOpened,
        kinds.BreakerHalfOpened,
        kinds.BreakerClosed,
        kinds.RollbackCompleted,
        kinds.HoldReconciled,
        kinds.SessionResumed,
        upkeep_kinds.SessionAborted,
        alert_kinds.AlertAcknowledged,
        incident_kinds.IncidentOpened,
        incident_kinds.IncidentNoted,
        incident_kinds.IncidentClosed,
        upkeep_kinds.StoreRestored,
        upkeep_kinds.LedgerClockReset,
        upkeep_kinds.DrillPassed,
        upkeep_kinds.DrillFailed,
        job_kinds.JobRequeued,
        job_kinds.JobCancelAsked,
        job_kinds.JobCancelled,
        job_kinds.JobDiscarded,
        job_kinds.JobResolved,
        approval_kinds.ApprovalGranted,
        approval_kinds.ApprovalDenied,
    )

    def __init__(self, tx: Transaction, findings: Findings, sums: Sums) -> None:
        self._tx = tx
        self._findings = findings
        self._latches: dict[str, bool] = {}
        self._breakers: dict[str, _Breaker] = {}
        self._reset_from = 0
        # The position of the latest event of each: below the last export's end they may not come
        # in order, and those before its cut have lost their commands.
        self._moved_at: dict[str, int] = {}
        self._cut_at = sums.cut_at
        for total in sums.states.values():
            self._resume(total)

    def _resume(self, total: StateSum) -> None:
        what, _, name = total.subject.partition(" ")
        self._moved_at[total.subject] = total.at_position
        match what:
            case "kill":
                self._latches[name] = total.state == "engaged"
            case "breaker":
                self._breakers[name] = msgspec.json.decode(total.state, type=_Breaker)
            case _:
                self._reset_from = int(total.state)

    def carried(self) -> dict[str, StateSum]:
        """Return where the events read so far, and those before them, have left everything."""
        states = {f"kill {name}": _latch_text(is_on) for name, is_on in self._latches.items()}
        states |= {
            f"breaker {name}": msgspec.json.encode(breaker).decode()
            for name, breaker in self._breakers.items()
        }
        if self._reset_from:
            states["clock reset"] = str(self._reset_from)
        return {
            subject: StateSum(
                subject=subject, state=state, at_position=self._moved_at.get(subject, 0)
            )
            for subject, state in states.items()
        }

    def _is_news(self, row: EventRow, subject: str) -> bool:
        if row.position < self._moved_at.get(subject, 0):
            return False
        self._moved_at[subject] = row.position
        return True

    def add(self, row: EventRow, event: Event) -> None:
        """Replay a kill, a release, a breaker's move, or note whose command an event is."""
        match event:
            case kinds.KillSwitchEngaged() | kinds.KillSwitchReleased():
                if self._is_news(row, f"kill {event.scope}"):
                    self._latches[event.scope] = isinstance(event, kinds.KillSwitchEngaged)
            case kinds.BreakerOpened() | kinds.BreakerHalfOpened() | kinds.BreakerClosed():
                if self._is_news(row, f"breaker {event.name}"):
                    self._breakers[event.name] = self._moved(event)
            case upkeep_kinds.LedgerClockReset():
                self._reset_from = max(self._reset_from, event.clock_before)
            case _:
                pass
        operation = _operation_of(event)
        if operation is not None and row.command_id and row.at >= self._cut_at:
            self._check_command(row, operation)

    def _moved(
        self, event: kinds.BreakerOpened | kinds.BreakerHalfOpened | kinds.BreakerClosed
    ) -> _Breaker:
        before = self._breakers.get(event.name, _Breaker(event.name))
        match event:
            case kinds.BreakerOpened():
                return _Breaker(
                    name=event.name,
                    state=BreakerState.OPEN,
                    cause=event.cause,
                    why=event.why,
                    retry_at=event.retry_at,
                    openings=event.openings,
                )
            case kinds.BreakerHalfOpened():
                return msgspec.structs.replace(before, state=BreakerState.HALF_OPEN)
            case kinds.BreakerClosed():
                # Who closes one by hand says that its cause is gone: it begins anew.
                openings = 0 if event.is_by_hand else before.openings
                return _Breaker(name=event.name, openings=openings)

    def _check_command(self, row: EventRow, operation: str) -> None:
        # Without its row the same command, sent again, would be done again.
        stored = self._tx.row("audit_states.command", _Operation, id=row.command_id)
        subject = f"command {row.command_id}"
        if stored is None:
            self._findings.add(subject, "has an event but no row", row)
        elif stored.operation != operation:
            what = f"its row says {stored.operation}, its event {operation}"
            self._findings.add(subject, what, row)

    def finish(self) -> None:
        """Compare the rows with what the events have left."""
        self._check_latches()
        self._check_breakers()
        self._check_commands()
        self._check_ledger_clock()

    def _check_latches(self) -> None:
        for latch in self._rows("latches", "kill", _Latch, lambda row: row.scope):
            says = _latch_text(latch.is_engaged)
            should = _latch_text(self._latches.pop(latch.scope, None))
            if says != should:
                what = f"its row says {says}, its events {should}"
                self._findings.add(f"kill {latch.scope}", what)
        for scope, is_engaged in self._latches.items():
            what = f"its events say {_latch_text(is_engaged)}, it has no row"
            self._findings.add(f"kill {scope}", what)

    def _check_breakers(self) -> None:
        for breaker in self._rows("breakers", "breaker", _Breaker, lambda row: row.name):
            should = self._breakers.pop(breaker.name, _Breaker(breaker.name))
            for field in _Breaker.__struct_fields__[1:]:
                says, should_say = getattr(breaker, field), getattr(should, field)
                if says != should_say:
                    what = f"its row says {field} {says!s}, its events {should_say!s}"
                    self._findings.add(f"breaker {breaker.name}", what)
        for name, should in self._breakers.items():
            self._findings.add(f"breaker {name}", f"its events say {should.state}, it has no row")

    def _check_commands(self) -> None:
        for command in self._rows("commands", "command", _Command, lambda row: row.id):
            if hashlib.sha256(command.content.encode()).digest() != command.content_hash:
                what = "its content is not that which it was recorded with"
                self._findings.add(f"command {command.id}", what)

    def _check_ledger_clock(self) -> None:
        # The clock is set where a quarter of an hour begins, as every period does.
        clock = self._tx.row("audit_states.ledger_clock", _LedgerClock)
        if clock is None:
            self._findings.add("ledger clock", "has no row")
        elif clock.at // _QUARTER_US < clock.placed_at // _QUARTER_US and (
            # Unless a named person did that: no hold is later than where it stood then.
            self._reset_from // _QUARTER_US < clock.placed_at // _QUARTER_US
        ):
            self._findings.add("ledger clock", "stands before the latest hold: it was set back")

    def _rows(
        self, table: str, subject: str, into: type[RowT], key: Callable[[RowT], str]
    ) -> Iterator[RowT]:
        def read(after: str) -> Iterator[RowT]:
            return self._tx.each(f"audit_states.{table}", into, after=after)

        def pass_over(after: str, error: Exception) -> str:
            broken = self._tx.row(f"audit_states.next_of_{table}", TextKey, after=after)
            if broken is None:
                raise error
            self._findings.add(f"{subject} {broken.key}", f"its row {damage_text(error)}")
            return broken.key

        return sound_rows(read, after="", key=key, pass_over=pass_over)


def _operation_of(event: Event) -> str | None:
    match event:
        case approval_kinds.ApprovalGranted():
            # Nobody was asked where the policy approved, or what a person had allowed before; a
            # ticket that waited may be covered by the latter.
            is_decision = event.ticket and (event.for_session or not event.grant)
            return "approve" if is_decision else None
        case approval_kinds.ApprovalDenied():
            return "deny" if event.ticket else None
        case job_kinds.JobCancelled():
            # Where it was running, its worker has ended it, as it was asked to.
            return None if event.token else "job_cancel"
        case kinds.BreakerClosed():
            return "close_breaker" if event.is_by_hand else None
        case kinds.SessionResumed():
            return "resume" if event.is_by_hand else None
        case _:
            return _OPERATIONS.get(type(event))


def _latch_text(is_engaged: bool | None) -> str:
    if is_engaged is None:
        return "nothing"
    return "engaged" if is_engaged else "released"
