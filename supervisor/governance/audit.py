"""Proving that the events are whole, and that everything kept beside them follows from them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from supervisor.events.kinds import Event
from supervisor.events.log import EventRow, parse
from supervisor.governance.audit_accounts import AccountAudit
from supervisor.governance.audit_chain import ChainAudit
from supervisor.governance.audit_findings import Finding, Findings
from supervisor.governance.audit_holds import HoldAudit
from supervisor.governance.audit_proposals import ProposalAudit
from supervisor.governance.audit_ticks import TickAudit
from supervisor.governance.sound_rows import BEFORE_ALL, NumberKey, damage_text, sound_rows
from supervisor.storage.database import Transaction

__all__ = ["AuditReport", "Finding", "audit"]


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was read, and what differs: the first finding is the first row that does.

    `findings` holds the first hundred of `findings_total`.
    """

    events: int
    sessions: int
    accounts: int
    holds: int
    ticks: int
    findings: tuple[Finding, ...]
    findings_total: int

    @property
    def is_clean(self) -> bool:
        return self.findings_total == 0


def audit(tx: Transaction) -> AuditReport:
    """Read every event once and compare what follows from them with what the store says.

    Proves (requirements S8, S9, L12, L1a): numbers without a gap and an unbroken hash chain in
    each session; its counters and its seal; each account's balance, limit and overrun; each
    hold; each proposal, ticket and session grant; and that each tick ended once, where it began.
    Damage is a finding, and the reading goes on. Memory is bounded by the accounts, by what is
    open, and by the proposals; run it in one read, so that all is of one moment.

    Raises:
        StoreUnavailable: the store can't be read any further.
    """
    findings = Findings()
    chains = ChainAudit(tx, findings)
    accounts = AccountAudit(tx, findings)
    holds = HoldAudit(tx, findings, accounts)
    ticks = TickAudit(tx, findings)
    proposals = ProposalAudit(tx, findings)
    events = 0
    for row in _events(tx, findings):
        events += 1
        event = _parse(row, findings)
        chains.add(row, event)
        if event is not None:
            accounts.add(row, event)
            holds.add(row, event)
            ticks.add(row, event)
            proposals.add(row, event)
    for part in (chains, holds, accounts, ticks, proposals):
        part.finish()
    return AuditReport(
        events=events,
        sessions=chains.sessions,
        accounts=accounts.accounts,
        holds=holds.holds,
        ticks=ticks.ticks,
        findings=tuple(findings.kept),
        findings_total=findings.total,
    )


def _events(tx: Transaction, findings: Findings) -> Iterator[EventRow]:
    def read(after: int) -> Iterator[EventRow]:
        return tx.each("audit.events", EventRow, after=after)

    def pass_over(after: int, error: Exception) -> int:
        broken = tx.row("audit.next_event", NumberKey, after=after)
        if broken is None:
            raise error
        findings.add(f"event at position {broken.key}", damage_text(error))
        return broken.key

    return sound_rows(read, after=BEFORE_ALL, key=lambda row: row.position, pass_over=pass_over)


def _parse(row: EventRow, findings: Findings) -> Event | None:
    try:
        return parse(row)
    except KeyError:
        findings.add(f"event {row.seq}", f"kind {row.kind!r} is not known", row)
    except msgspec.DecodeError as error:
        findings.add(f"event {row.seq}", f"its payload {damage_text(error)}", row)
    return None
