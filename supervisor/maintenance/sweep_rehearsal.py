"""The daemon's part of the approvals drill: its sweep clears a backlog that never comes to be."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NoReturn
from zoneinfo import ZoneInfo

from supervisor.clock import Clock, from_us, iso, to_us
from supervisor.events.log import Journal, Origin
from supervisor.governance import drills
from supervisor.governance.approvals import request_decision
from supervisor.governance.drills import CANARY, Drill, DrillRecord, DrillStatus, Verdict
from supervisor.governance.proposals import (
    Proposal,
    ProposalStatus,
    Ticket,
    TicketStatus,
    find_proposal,
    find_ticket,
)
from supervisor.governance.rotation import system_journal
from supervisor.maintenance.approval_sweep import sweep_page
from supervisor.storage.database import Database, Transaction

#: Several pages, the last of them not full; few, as the store takes no other write meanwhile.
TICKETS = 50
_PAGE_ROWS = 20
_PAGES = 3
_OVERDUE = timedelta(hours=1)
#: A real ticket that the sweep has left for longer was left by it, and not only not yet seen.
_LEFT_AFTER = timedelta(seconds=60)


class _TakenBack(Exception):
    """The rehearsal is over: raised so that the store takes back all that was done in it."""

    def __init__(self, left: int) -> None:
        super().__init__(left)
        self.left = left


class SweepRehearsal:
    """Carries out approvals drills, in the sweep's own task and with its own transaction.

    The scratch tickets are made, swept and taken back in one transaction that is never committed:
    nobody else sees them, no event and no metric tells of them, and no crash leaves one behind.
    """

    def __init__(
        self, database: Database, clock: Clock, *, boot_id: str, timezone: ZoneInfo
    ) -> None:
        self._database = database
        self._clock = clock
        self._boot_id = boot_id
        self._timezone = timezone

    async def once(self) -> None:
        """Carry out the drills that were asked for; called at the end of each sweep.

        Raises:
            StoreUnavailable: the store failed; whoever asked says so.
        """
        for record in await self._database.read(drills.under_way, Drill.APPROVALS):
            if record.status is not DrillStatus.REQUESTED:
                continue
            if await self._database.write(drills.take_up, record.id, self._boot_id):
                await self._carry_out(record)

    async def _carry_out(self, record: DrillRecord) -> None:
        why = await self._clear_scratch(record)
        overdue = await self._database.read(_left_overdue, self._clock.now())
        if not why and overdue is not None:
            since = iso(from_us(overdue.deadline_at))
            why = f"ticket {overdue.id} is overdue since {since}, and the sweep has left it"
        # By the wall clock, as the two ends are of two processes.
        taken = self._clock.now() - from_us(record.asked_at)
        taken_s = round(max(taken.total_seconds(), 0.0), 3)
        passed = (
            f"the sweep came round {taken_s:g} s after it was asked and cleared {TICKETS} overdue"
            " scratch tickets; none of the store's own is overdue"
        )
        verdict = Verdict(
            drill=Drill.APPROVALS,
            id=record.id,
            passed=not why,
            measured_s=0.0 if why else taken_s,
            what=why or passed,
        )
        origin = Origin(at=self._clock.now(), actor=record.actor, command_id=record.id)
        await self._database.write(drills.finish, verdict, origin, self._timezone)

    async def _clear_scratch(self, record: DrillRecord) -> str:
        """Return why the scratch tickets were not cleared, empty where they were."""
        origin = Origin(at=self._clock.now(), actor="sweep", command_id=record.id)
        try:
            await self._database.write(_rehearse, record.id, origin, self._timezone)
        except _TakenBack as rehearsed:
            if not rehearsed.left:
                return ""
            left = f"{rehearsed.left} of {TICKETS}"
            return f"the sweep came round and left {left} overdue scratch tickets undecided"


def _rehearse(tx: Transaction, drill_id: str, origin: Origin, timezone: ZoneInfo) -> NoReturn:
    with system_journal(tx, timezone, origin) as journal:
        tickets = [_ask(tx, journal, f"{drill_id}/{number}") for number in range(TICKETS)]
    for _ in range(_PAGES):
        sweep_page(tx, origin, timezone, rows_max=_PAGE_ROWS)
    expired = sum(_is_expired(tx, ticket) for ticket in tickets)
    raise _TakenBack(TICKETS - expired)


def _ask(tx: Transaction, journal: Journal, proposal_id: str) -> Ticket:
    """Make a pending proposal and its ticket, both overdue longer than any of the store's."""
    asked_at = journal.origin.at - 2 * _OVERDUE
    tx.run(
        "approvals.propose",
        id=proposal_id,
        worker=CANARY,
        session_id=journal.session_id,
        tick=0,
        action="drill",
        resource="",
        content=Proposal(action="drill").encode(),
        risk="low",
        tier="default",
        step="drill",
        reason="a scratch ticket of a drill",
        status=ProposalStatus.PENDING,
        code="",
        why="",
        is_counted=0,
        now=to_us(asked_at),
        open_until=to_us(journal.origin.at - _OVERDUE),
        ended_at=None,
    )
    stored = find_proposal(tx, proposal_id)
    assert stored is not None, f"proposal {proposal_id} was just made"
    return request_decision(tx, journal, stored, why=stored.reason, is_draft=False)


def _is_expired(tx: Transaction, ticket: Ticket) -> bool:
    found = find_ticket(tx, ticket.id)
    return found is not None and found.status is TicketStatus.EXPIRED


def _left_overdue(tx: Transaction, now: datetime) -> Ticket | None:
    """Return a real ticket that the sweep should have ended long ago."""
    return tx.row("approvals.overdue", Ticket, now=to_us(now - _LEFT_AFTER), rows_max=1)
