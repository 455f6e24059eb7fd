"""Auditing jobs: their events, replayed, against their rows, their claims and their counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import msgspec

from supervisor.events import job_kinds as kinds
from supervisor.events.kinds import Event
from supervisor.events.log import EventRow
from supervisor.governance.audit_findings import Findings
from supervisor.governance.audit_job_rows import JobCount, JobRow, open_claims, row_faults
from supervisor.governance.audit_ticks import NumberRuns
from supervisor.governance.sound_rows import NumberKey, damage_text, sound_rows
from supervisor.governance.sums import Sums
from supervisor.jobs.job import payload_digest
from supervisor.storage.database import Transaction

#: What the events know of a job that may be claimed: when it is due is the clock's to say.
_WAITING = "waiting"
_BEFORE_DUE = frozenset({"scheduled", "queued"})
_OVER = frozenset({"done", "cancelled", "discarded"})


class _Known(msgspec.Struct):
    """A job as its events have left it."""

    state: str
    queue: str
    digest: str
    attempts: int = 0
    token: int | None = None


class JobAudit:
    """Follows every job to its end; in memory are those that are not over.

    Where windows were pruned, a job that was enqueued before is passed over. In an export only the
    tokens are looked at: the moves of a job may stand in windows of several workers and of the
    system, which do not all go together.
    """

    #: The kinds of events that it is to be told of.
    FOLLOWS: ClassVar[tuple[type[Event], ...]] = (
        kinds.JobEnqueued,
        kinds.JobClaimed,
        kinds.JobCompleted,
        kinds.JobGivenBack,
        kinds.JobRetried,
        kinds.JobDeadLettered,
        kinds.JobQuarantined,
        kinds.JobCancelled,
        kinds.JobRequeued,
        kinds.JobDiscarded,
        kinds.JobResolved,
    )

    def __init__(self, tx: Transaction, findings: Findings, sums: Sums, *, is_export: bool) -> None:
        self._tx = tx
        self._is_export = is_export
        self._is_whole = not is_export and sums.export is None
        self._sums = sums
        self._findings = findings
        self._open: dict[str, _Known] = {}
        self._tokens = NumberRuns()
        self._over = NumberRuns()

    def add(self, row: EventRow, event: Event) -> None:
        """Replay an event of a job; others are none of its."""
        if isinstance(event, kinds.JobClaimed) and not self._tokens.add(event.token):
            self._findings.add(f"claim {event.token}", "has a token that is not new", row)
        if self._is_export:
            return
        match event:
            case kinds.JobEnqueued():
                self._enqueue(row, event)
            case kinds.JobClaimed(token=token):
                self._each(row, event.jobs, (_WAITING,), lambda job: _claimed(job, token))
            case kinds.JobGivenBack(token=token):
                self._each(row, event.jobs, ("running",), _given_back, token)
            case kinds.JobCompleted(token=token):
                self._each(row, event.jobs, ("running",), _into("done"), token)
                self._end(row, event.jobs)
            case kinds.JobRetried(token=token) | kinds.JobDeadLettered(token=token):
                self._fail(row, event)
                state = _WAITING if isinstance(event, kinds.JobRetried) else "dead"
                self._each(row, [event.job], ("running",), _into(state), token)
            case kinds.JobQuarantined(token=token):
                self._each(row, [event.job], ("running",), _quarantined, token)
            case _:
                self._decide(row, event)

    def _decide(self, row: EventRow, event: Event) -> None:
        """Replay what a person has done."""
        match event:
            case kinds.JobCancelled(token=0):
                self._each(row, [event.job], (_WAITING, "unknown"), _into("cancelled"))
                self._end(row, [event.job])
            case kinds.JobCancelled(token=token):
                self._each(row, [event.job], ("running",), _into("cancelled"), token)
                self._end(row, [event.job])
            case kinds.JobRequeued():
                before = _WAITING if event.before in _BEFORE_DUE else event.before
                self._each(row, [event.job], (before,), _requeued)
            case kinds.JobDiscarded():
                self._each(row, [event.job], ("dead",), _into("discarded"))
                self._end(row, [event.job])
            case kinds.JobResolved(is_done=False):
                self._each(row, [event.job], ("unknown",), _into(_WAITING))
            case kinds.JobResolved():
                self._each(row, [event.job], ("unknown",), _into("done"))
                self._end(row, [event.job])
            case _:
                return

    def _enqueue(self, row: EventRow, event: kinds.JobEnqueued) -> None:
        if self._sums.covers(row.position, row.at):
            # Its later events, or its row, may have been pruned, and its key be another's by now.
            return
        if event.job in self._open:
            self._findings.add(f"job {event.job}", "is made a second time", row)
        self._open[event.job] = _Known(state=_WAITING, queue=event.queue, digest=event.digest)

    def _fail(self, row: EventRow, event: kinds.JobRetried | kinds.JobDeadLettered) -> None:
        known = self._open.get(event.job)
        if known is not None and known.attempts != event.attempt:
            what = f"fails in attempt {event.attempt}, its events have {known.attempts}"
            self._findings.add(f"job {event.job}", what, row)

    def _each(
        self,
        row: EventRow,
        jobs: Sequence[str],
        before: Sequence[str],
        change: Callable[[_Known], None],
        token: int | None = None,
    ) -> None:
        for job in jobs:
            known = self._open.get(job)
            if known is None and not self._is_whole:
                continue
            if known is None:
                self._findings.add(f"job {job}", f"is moved by {row.kind}, and is not open", row)
                continue
            if known.state not in before or (token is not None and known.token != token):
                what = f"is moved by {row.kind} of claim {token}, it was {known.state}"
                self._findings.add(f"job {job}", f"{what} of claim {known.token}", row)
            change(known)

    def _end(self, row: EventRow, jobs: Sequence[str]) -> None:
        """Compare jobs that will not change any more with their rows, and forget them."""
        for job in jobs:
            known = self._open.pop(job, None)
            try:
                stored = self._tx.row("audit_jobs.row_of", JobRow, id=job)
            except Exception as error:  # noqa: BLE001 - a damaged row: its text goes on record
                self._findings.add(f"job {job}", f"its row {damage_text(error)}", row)
                continue
            if stored is None and known is not None:
                self._findings.add(f"job {job}", "has events but no row", row)
            if stored is not None and known is not None:
                self._over.add(stored.number)
                self._compare(stored, known)

    def finish(self) -> None:
        """Compare the rows with what the events have left."""
        if self._is_export:
            return
        claims = open_claims(self._tx)
        for stored in self._rows():
            for what in row_faults(stored, claims):
                self._findings.add(f"job {stored.id}", what)
            known = self._open.pop(stored.id, None)
            if known is not None:
                self._compare(stored, known)
            elif stored.number not in self._over and self._is_whole:
                what = f"its row says {stored.state}, its events nothing"
                self._findings.add(f"job {stored.id}", what)
        for job in self._open:
            self._findings.add(f"job {job}", "has events but no row")
        for token in sorted(claims):
            if token not in self._tokens and self._is_whole:
                self._findings.add(f"claim {token}", "has a row but no event")
        self._compare_counts()

    def _compare_counts(self) -> None:
        real = set(self._tx.rows("audit_jobs.real_counts", JobCount))
        try:
            kept = set(self._tx.rows("jobs.counts", JobCount))
        except msgspec.ValidationError as error:
            self._findings.add("counts of jobs", damage_text(error))
            return
        for one in sorted(kept ^ real, key=lambda one: (one.queue, one.state)):
            whose = "count says" if one in kept else "rows are"
            what = f"its {whose} {one.jobs} {one.state}"
            self._findings.add(f"queue {one.queue}", what)

    def _compare(self, stored: JobRow, known: _Known) -> None:
        is_waiting = known.state == _WAITING and stored.state in _BEFORE_DUE
        subject = f"job {stored.id}"
        if not is_waiting and stored.state != known.state:
            what = f"its row says {stored.state}, its events {known.state}"
            self._findings.add(subject, what)
            return
        says = (stored.queue, stored.attempts, stored.token)
        should = (known.queue, known.attempts, known.token)
        if says != should:
            what = f"its row says queue, attempts and claim {says}, its events {should}"
            self._findings.add(subject, what)
        if payload_digest(stored.payload) != known.digest:
            self._findings.add(subject, "its payload is not that which it was enqueued with")

    def _rows(self) -> Iterator[JobRow]:
        def read(after: int) -> Iterator[JobRow]:
            return self._tx.each("audit_jobs.rows", JobRow, after=after)

        def pass_over(after: int, error: Exception) -> int:
            broken = self._tx.row("audit_jobs.next_row", NumberKey, after=after)
            if broken is None:
                raise error
            self._findings.add(f"job number {broken.key}", f"its row {damage_text(error)}")
            return broken.key

        return sound_rows(read, after=0, key=lambda row: row.number, pass_over=pass_over)


def _into(state: str) -> Callable[[_Known], None]:
    def change(job: _Known) -> None:
        job.state, job.token = state, None

    return change


def _claimed(job: _Known, token: int) -> None:
    job.state, job.token = "running", token
    job.attempts += 1


def _given_back(job: _Known) -> None:
    job.state, job.token = _WAITING, None
    job.attempts -= 1


def _quarantined(job: _Known) -> None:
    job.state, job.token = "unknown", None
    job.attempts -= 1


def _requeued(job: _Known) -> None:
    job.state, job.attempts = _WAITING, 0
