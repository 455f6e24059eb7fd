"""The kinds of events of jobs and of who has claimed them."""

from __future__ import annotations

from supervisor.events.event import Event


class JobEnqueued(Event, frozen=True, kw_only=True):
    """A job came to be; `digest` is the SHA-256 of its payload, `run_at` when it is due."""

    kind = "job_enqueued"
    job: str
    queue: str
    priority: int
    run_at: int
    attempts_max: int
    digest: str


class JobClaimed(Event, frozen=True, kw_only=True):
    """A tick took jobs; an attempt of each begins. `token` is above that of every claim before."""

    kind = "job_claimed"
    queue: str
    worker: str
    tick: int
    token: int
    jobs: tuple[str, ...]


class JobCompleted(Event, frozen=True, kw_only=True):
    """Jobs are done, and what their worker keeps was written with that."""

    kind = "job_completed"
    queue: str
    token: int
    jobs: tuple[str, ...]


class JobGivenBack(Event, frozen=True, kw_only=True):
    """Jobs went back as they were, with no attempt used up; from `run_at`, if that is set."""

    kind = "job_given_back"
    queue: str
    token: int
    jobs: tuple[str, ...]
    why: str
    run_at: int = 0


class JobRetried(Event, frozen=True, kw_only=True):
    """An attempt failed, and another one comes at `run_at`."""

    kind = "job_retried"
    job: str
    queue: str
    token: int
    attempt: int
    run_at: int
    error: str


class JobDeadLettered(Event, frozen=True, kw_only=True):
    """A job failed for good: its last attempt did, or its error is permanent."""

    kind = "job_dead_lettered"
    job: str
    queue: str
    token: int
    attempt: int
    error: str


class JobQuarantined(Event, frozen=True, kw_only=True):
    """A job waits for a person: whether its effect was done is not known."""

    kind = "job_quarantined"
    job: str
    queue: str
    token: int
    why: str


class JobCancelAsked(Event, frozen=True, kw_only=True):
    """A person wants a running job to end; its worker is told."""

    kind = "job_cancel_asked"
    job: str
    why: str = ""


class JobCancelled(Event, frozen=True, kw_only=True):
    """A job will not be done; `token` is set where it was running."""

    kind = "job_cancelled"
    job: str
    queue: str
    token: int = 0
    why: str = ""


class JobRequeued(Event, frozen=True, kw_only=True):
    """A job is to run now by a person's word: it was `before`. Its attempts begin anew."""

    kind = "job_requeued"
    job: str
    queue: str
    before: str
    why: str = ""


class JobDiscarded(Event, frozen=True, kw_only=True):
    """A dead job was put aside for good."""

    kind = "job_discarded"
    job: str
    queue: str
    why: str = ""


class JobResolved(Event, frozen=True, kw_only=True):
    """A person has looked whether a job of an unknown outcome was done, and said so."""

    kind = "job_resolved"
    job: str
    queue: str
    is_done: bool
    why: str = ""


class LeaseExpired(Event, frozen=True, kw_only=True):
    """A claim was taken away from a worker that had stopped renewing it, or was dead."""

    kind = "lease_expired"
    queue: str
    worker: str
    tick: int
    token: int
    boot_id: str


class CompletionRefused(Event, frozen=True, kw_only=True):
    """What a worker reported of its jobs came too late: their claim had been taken away."""

    kind = "job_completion_refused"
    queue: str
    worker: str
    tick: int
    token: int
    jobs: tuple[str, ...]


class ItemsBegun(Event, frozen=True, kw_only=True):
    """A loop over items began; the first `done` of them were committed before and are not repeated.

    `job` is empty where a tick works for none.
    """

    kind = "items_begun"
    worker: str
    tick: int
    name: str
    job: str = ""
    done: int = 0
    total: int | None = None


class ItemDone(Event, frozen=True, kw_only=True):
    """One more item is done, with all that its worker keeps of it: `done` in all."""

    kind = "item_done"
    worker: str
    tick: int
    name: str
    job: str = ""
    done: int
    total: int | None = None
    item: str = ""
