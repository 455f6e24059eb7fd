"""Ending what nobody decided in time, and calling workers whose tickets were decided."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from zoneinfo import ZoneInfo

import anyio
import msgspec
from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock, from_us, iso, to_us
from supervisor.config import Loaded
from supervisor.errors import StoreUnavailable
from supervisor.events import approval_kinds
from supervisor.events.log import Origin
from supervisor.governance.approvals import expire, home_journal
from supervisor.governance.proposals import (
    Ending,
    ProposalStatus,
    StoredProposal,
    Ticket,
    move_proposal,
)
from supervisor.storage.database import Database, Transaction

_PAGE_ROWS = 200


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep has ended: tickets that were overdue, proposals that waited in vain."""

    tickets: int = 0
    proposals: int = 0

    def __add__(self, other: Swept) -> Swept:
        return Swept(
            tickets=self.tickets + other.tickets, proposals=self.proposals + other.proposals
        )


class _Called(msgspec.Struct, frozen=True):
    ticket: str
    worker: str


async def sweep(database: Database, *, clock: Clock, timezone: ZoneInfo) -> Swept:
    """End everything whose time is over, page by page, so that nothing is left out.

    Overdue tickets expire with their proposals. A proposal that was steered expires; one that was
    approved and not executed in time fails. Doing it again changes nothing.

    Raises:
        StoreUnavailable: the store failed; what was ended stays ended.
    """
    total = Swept()
    while True:
        origin = Origin(at=clock.now(), actor="sweep")
        found = await database.write(sweep_page, origin, timezone)
        total += found
        if found == Swept():
            return total


def sweep_page(
    tx: Transaction, origin: Origin, timezone: ZoneInfo, *, rows_max: int = _PAGE_ROWS
) -> Swept:
    """End a page of what is over, tickets before proposals; nothing is left where it is empty."""
    now = to_us(origin.at)
    tickets = tx.rows("approvals.overdue", Ticket, now=now, rows_max=rows_max)
    for ticket in tickets:
        expire(tx, ticket, origin, timezone)
    if tickets:
        return Swept(tickets=len(tickets))
    stale = tx.rows("approvals.stale_proposals", StoredProposal, now=now, rows_max=rows_max)
    for proposal in stale:
        _end(tx, proposal, origin, timezone)
    return Swept(proposals=len(stale))


def _end(tx: Transaction, proposal: StoredProposal, origin: Origin, timezone: ZoneInfo) -> None:
    until = iso(from_us(proposal.open_until))
    is_approved = proposal.status is ProposalStatus.APPROVED
    to = ProposalStatus.FAILED if is_approved else ProposalStatus.EXPIRED
    why = (
        f"it was approved and not executed before {until}"
        if is_approved
        else (f"it was steered and not followed up before {until}")
    )
    move_proposal(tx, proposal, to, now=to_us(origin.at), ending=Ending(code="expired", why=why))
    with home_journal(tx, proposal, origin, timezone) as journal:
        if is_approved:
            action = proposal.proposal.action
            journal.add(
                approval_kinds.ExecutionFailed(proposal=proposal.id, action=action, why=why)
            )
        else:
            journal.add(approval_kinds.ProposalExpired(proposal=proposal.id, why=why))


class ApprovalSweep:
    """Sweeps every `sweep_every_s` and whenever somebody else has written into the store.

    A worker is called once for each decision: one that a gate refuses then is woken again when
    the gate changes, and one that is called by a later life of the daemon is called by that one.
    `rehearse` is what each sweep does at its end for drills.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        log: FilteringBoundLogger,
        loaded: Callable[[], Loaded],
        call: Callable[[str], None],
        rehearse: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._loaded = loaded
        self._call = call
        self._rehearse = rehearse
        self._asked = anyio.Event()
        self._called: set[str] = set()

    def look(self) -> None:
        """Look now: a decision may have been made."""
        self._asked.set()

    async def run(self) -> None:
        """Sweep and call until cancelled; where the store does not answer, try again later."""
        while True:
            self._asked = anyio.Event()
            await self.once()
            with anyio.move_on_after(self._loaded().config.policy.sweep_every_s):
                await self._asked.wait()

    async def once(self) -> None:
        """Sweep once, and call the workers whose tickets were decided since."""
        try:
            # A read first: most of the time nothing is over, and a write costs a sync.
            if await self._database.read(_is_due, to_us(self._clock.now())):
                timezone = self._loaded().timezone
                swept = await sweep(self._database, clock=self._clock, timezone=timezone)
                self._log.info("swept", tickets=swept.tickets, proposals=swept.proposals)
            unnoticed = await self._database.read(_unnoticed)
            await self._rehearse()
        except StoreUnavailable as error:
            self._log.error("sweep_not_done", error=str(error))
            return
        fresh = [one for one in unnoticed if one.ticket not in self._called]
        self._called = {one.ticket for one in unnoticed}
        for worker in sorted({one.worker for one in fresh}):
            self._call(worker)


def _is_due(tx: Transaction, now: int) -> bool:
    overdue = tx.rows("approvals.overdue", Ticket, now=now, rows_max=1)
    stale = tx.rows("approvals.stale_proposals", StoredProposal, now=now, rows_max=1)
    return bool(overdue or stale)


def _unnoticed(tx: Transaction) -> list[_Called]:
    return tx.rows("approvals.unnoticed", _Called)
