"""Proving that the events are whole, and that everything kept beside them follows from them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import ClassVar, Protocol

import msgspec

from supervisor.events.kinds import Event
from supervisor.events.log import EventRow, parse
from supervisor.governance.audit_accounts import AccountAudit
from supervisor.governance.audit_chain import ChainAudit
from supervisor.governance.audit_effects import EffectAudit
from supervisor.governance.audit_exports import ExportAudit
from supervisor.governance.audit_findings import Finding, Findings
from supervisor.governance.audit_holds import HoldAudit
from supervisor.governance.audit_jobs import JobAudit
from supervisor.governance.audit_progress import ProgressAudit
from supervisor.governance.audit_proposals import ProposalAudit
from supervisor.governance.audit_states import StateAudit
from supervisor.governance.audit_ticks import TickAudit
from supervisor.governance.sound_rows import BEFORE_ALL, NumberKey, damage_text, sound_rows
from supervisor.governance.sums import Sums, WorkerSum, read_sums
from supervisor.storage.database import Transaction

__all__ = ["AuditReport", "Finding", "audit"]


_PAGE_ROWS = 500


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was read, and what differs: the first finding is the first row that does.

    `findings` holds the first hundred of `findings_total`, and the first few of every kind;
    `findings_by_kind` counts all of them by the first word of their subject.
    """

    events: int
    sessions: int
    accounts: int
    holds: int
    ticks: int
    findings: tuple[Finding, ...]
    findings_total: int
    findings_by_kind: dict[str, int] = {}

    @property
    def is_clean(self) -> bool:
        return self.findings_total == 0


def audit(tx: Transaction, *, is_export: bool = False) -> AuditReport:
    """Read every event once and compare what follows from them with what the store says.

    Proves (requirements S8, S9, L12, L1a): numbers without a gap and an unbroken hash chain in
    each session; its window, status, counters and seal; that the session before it is there; each
    account's balance, limit and overrun; each hold; that each tick ended once, where it began;
    each proposal, ticket and session grant; each job, its payload and claim, and how many there
    are; how far each loop over items has come; each kill latch, breaker and operator's command;
    the ledger's clock; that what stays of pruned windows is what was sealed. Damage is a finding,
    and the reading goes on. Memory is bounded by the accounts, by what is open, and by the
    proposals; run it in one read, so that all is of one moment. What it can't see: docs/audit.md.

    `is_export` says that the store is filled from an export: it has no exports of its own.

    Raises:
        StoreUnavailable: the store can't be read any further.
    """
    replay = Replay(tx, is_export=is_export)
    replay.read()
    return replay.compare()


class _Part(Protocol):
    """A part of the audit that is told of some kinds of events."""

    FOLLOWS: ClassVar[tuple[type[Event], ...]]

    def add(self, row: EventRow, event: Event) -> None: ...


class Replay:
    """The events, read once by every part of the audit; then compared with what is beside them."""

    def __init__(self, tx: Transaction, *, is_export: bool = False) -> None:
        self._tx = tx
        self._findings = findings = Findings()
        sums = read_sums(tx)
        self._chains = ChainAudit(tx, findings, sums)
        self._accounts = AccountAudit(tx, findings, sums)
        self._holds = HoldAudit(tx, findings, self._accounts)
        self._ticks = TickAudit(tx, findings, sums)
        self._states = StateAudit(tx, findings, sums)
        self._proposals = ProposalAudit(tx, findings)
        self._effects = EffectAudit(tx, findings, sums, is_export=is_export)
        self._jobs = JobAudit(tx, findings, sums, is_export=is_export)
        self._progress = ProgressAudit(tx, findings, sums, is_export=is_export)
        self._exports = None if is_export else ExportAudit(findings, sums)
        self._events = 0

    def read(self) -> None:
        """Read every event and follow it; what differs on the way is a finding."""
        followers: dict[type[Event], list[Callable[[EventRow, Event], None]]] = {}
        parts: list[_Part] = [self._accounts, self._holds, self._ticks, self._states]
        parts += [
            self._proposals,
            self._jobs,
            self._effects,
            self._progress,
            *([self._exports] if self._exports else []),
        ]
        for part in parts:
            for kind in part.FOLLOWS:
                followers.setdefault(kind, []).append(part.add)
        reader = _Reader(self._tx, self._findings)
        for page in reader.pages():
            self._events += len(page)
            told = [event for _, event in page if event is not None]
            self._holds.read_ahead(told)
            self._ticks.read_ahead(told)
            for row, event in page:
                reader.name_damage(until=row.position)
                self._chains.add(row, event)
                if event is None:
                    continue
                for follow in followers.get(type(event), ()):
                    follow(row, event)
        reader.name_damage()

    def carried(self) -> Sums:
        """Return what the events read, and what was there before them, add up to."""
        ticks, sessions = self._ticks.carried(), self._chains.carried()
        return Sums(
            accounts=self._accounts.carried(),
            workers={
                worker: WorkerSum(
                    worker=worker,
                    last_tick=ticks.get(worker, 0),
                    last_session=sessions.get(worker, ""),
                )
                for worker in ticks.keys() | sessions.keys()
            },
            states=self._states.carried(),
        )

    def compare(self) -> AuditReport:
        """Compare what was read with every row beside the events."""
        self._chains.finish()
        self._holds.finish()
        self._accounts.finish()
        self._ticks.finish()
        self._states.finish()
        self._proposals.finish()
        self._jobs.finish()
        self._effects.finish()
        self._progress.finish()
        if self._exports is not None:
            self._exports.finish()
        findings = self._findings
        return AuditReport(
            events=self._events,
            sessions=self._chains.sessions,
            accounts=self._accounts.accounts,
            holds=self._holds.holds,
            ticks=self._ticks.ticks,
            findings=tuple(findings.kept),
            findings_total=findings.total,
            findings_by_kind=findings.by_kind,
        )


class _Reader:
    """The events in pages; what can't be read of them is named when its turn comes."""

    def __init__(self, tx: Transaction, findings: Findings) -> None:
        self._tx = tx
        self._findings = findings
        self._damage: list[tuple[int, str, str, EventRow | None]] = []

    def pages(self) -> Iterator[list[tuple[EventRow, Event | None]]]:
        """Yield rows in the order of their commits, with their events where these can be had."""
        rows = sound_rows(
            lambda after: self._tx.each("audit.events", EventRow, after=after),
            after=BEFORE_ALL,
            key=lambda row: row.position,
            pass_over=self._pass_over,
        )
        while page := list(itertools.islice(rows, _PAGE_ROWS)):
            parsed = [(row, self._parse(row)) for row in page]
            self._damage.sort(key=lambda one: one[0])
            yield parsed

    def name_damage(self, until: int | None = None) -> None:
        """Put on record what could not be read up to a position, or at all."""
        while self._damage and (until is None or self._damage[0][0] <= until):
            _, subject, what, row = self._damage.pop(0)
            self._findings.add(subject, what, row)

    def _pass_over(self, after: int, error: Exception) -> int:
        broken = self._tx.row("audit.next_event", NumberKey, after=after)
        if broken is None:
            raise error
        subject = f"event at position {broken.key}"
        self._damage.append((broken.key, subject, damage_text(error), None))
        return broken.key

    def _parse(self, row: EventRow) -> Event | None:
        try:
            return parse(row)
        except KeyError:
            what = f"kind {row.kind!r} is not known"
        except msgspec.DecodeError as error:
            what = f"its payload {damage_text(error)}"
        self._damage.append((row.position, f"event {row.seq}", what, row))
        return None
