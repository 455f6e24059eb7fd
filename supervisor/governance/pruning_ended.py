"""Deleting what ended before the last export's cut: jobs, keys of effects, alerts, incidents."""

from __future__ import annotations

import msgspec

from supervisor.governance.sums import Export
from supervisor.jobs.job import JobState
from supervisor.jobs.queue import count
from supervisor.storage.database import Transaction

_PAGE_ROWS = 200


class JobsPage(msgspec.Struct, frozen=True, kw_only=True):
    """What a page of old jobs has deleted; the next one is behind `after`, None where none is."""

    gone: int
    after: int | None


class _Job(msgspec.Struct, frozen=True):
    number: int
    enqueued_at: int


class _Count(msgspec.Struct, frozen=True):
    queue: str
    state: JobState
    jobs: int


class _Id(msgspec.Struct, frozen=True):
    id: str


def prune_jobs(tx: Transaction, *, after: int) -> JobsPage:
    """Delete jobs of the next page that were over before the last export's cut.

    A dead one stays until somebody requeues or discards it, and one that waits for the outcome of
    an effect until that is known. Pages go by the order of enqueueing, and end at the first job
    that is younger than the cut: so that nothing is read that can't be old enough.
    """
    export = tx.row("retention.last_export", Export)
    if export is None:
        return JobsPage(gone=0, after=None)
    page = tx.rows("ended.jobs_after", _Job, after=after, rows_max=_PAGE_ROWS)
    old = [job for job in page if job.enqueued_at < export.cut_at]
    if not old:
        return JobsPage(gone=0, after=None)
    until, gone = old[-1].number, 0
    span = {"after": after, "until": until, "cut_at": export.cut_at}
    for one in tx.rows("ended.count_jobs", _Count, **span):
        count(tx, one.queue, one.state, -one.jobs)
        gone += one.jobs
    dropped = tx.run("ended.drop_jobs", **span)
    assert dropped == gone, f"{dropped} of {gone} old jobs were deleted"
    return JobsPage(gone=gone, after=until if len(old) == len(page) else None)


def prune_ended(tx: Transaction, cut_at: int) -> int:
    """Delete a page of what else was over before the cut, and return how many rows."""
    gone = tx.run("ended.drop_effects", cut_at=cut_at, rows_max=_PAGE_ROWS)
    gone += tx.run("ended.drop_progress", cut_at=cut_at, rows_max=_PAGE_ROWS)
    # Incidents first: an alert that one of them was noted about goes after it.
    for incident in tx.rows("ended.old_incidents", _Id, cut_at=cut_at, rows_max=_PAGE_ROWS):
        gone += tx.run("ended.drop_incident_notes", id=incident.id)
        gone += tx.run("ended.drop_incident", id=incident.id)
    for alert in tx.rows("ended.old_alerts", _Id, cut_at=cut_at, rows_max=_PAGE_ROWS):
        gone += tx.run("ended.drop_alert_messages", id=alert.id)
        gone += tx.run("ended.drop_alert", id=alert.id)
    return gone + tx.run("ended.drop_outputs", cut_at=cut_at)
