"""What queues must hold, told in plain Python: no SQL, no claims, only jobs and who has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

HISTORY_MAX = 20
OVER = frozenset({"done", "cancelled", "discarded"})

How: TypeAlias = Literal["done", "failed", "permanent", "unknown", "back", "later"]


@dataclass(slots=True)
class ModelJob:
    """A job; moments in microseconds. `number` is its place in the order of enqueuing."""

    number: int
    queue: str
    payload: str
    priority: int
    run_at: int
    attempts_max: int
    state: str
    attempts: int = 0
    token: int | None = None
    is_cancel_asked: bool = False
    failures: list[int] = field(default_factory=list)
    completions: int = 0

    @property
    def runs_alone(self) -> bool:
        return self.attempts > 0 or self.attempts_max == 1

    def leave(self, state: str) -> None:
        self.state, self.token, self.is_cancel_asked = state, None, False

    def wait(self, run_at: int, now: int) -> None:
        """Leave the claim, to be claimed again from that moment on."""
        self.run_at = run_at
        self.leave("scheduled" if run_at > now else "queued")

    def fail(self, now: int, delay: int, *, is_permanent: bool) -> None:
        self.failures = [*self.failures, self.attempts][-HISTORY_MAX:]
        if is_permanent or self.attempts >= self.attempts_max:
            self.leave("dead")
        else:
            self.wait(now + delay, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How one job of a claim is to end; `delay` in microseconds."""

    job: str
    how: How
    delay: int = 0


@dataclass(slots=True)
class JobModel:
    """Every job, by its id; `claims` are the tokens of those that nobody has taken away."""

    jobs: dict[str, ModelJob] = field(default_factory=dict)
    claims: set[int] = field(default_factory=set)
    token: int = 0

    def enqueue(self, job_id: str, job: ModelJob, now: int) -> bool:
        """Return whether it is new."""
        if job_id in self.jobs:
            return False
        job.wait(max(job.run_at, now), now)
        self.jobs[job_id] = job
        return True

    def next_ones(self, queue: str, now: int, most: int) -> list[str]:
        """Return what a claim takes: by priority, then by what is due first; the tried run alone.

        What is due becomes claimable for good, whatever the clock does then.
        """
        for job in self.jobs.values():
            if job.queue == queue and job.state == "scheduled" and job.run_at <= now:
                job.state = "queued"
        waiting = [
            (-job.priority, job.run_at, job.number, job_id)
            for job_id, job in self.jobs.items()
            if job.queue == queue and job.state == "queued"
        ]
        found = [job_id for *_, job_id in sorted(waiting)[:most]]
        alone = [place for place, job_id in enumerate(found) if self.jobs[job_id].runs_alone]
        return found[: max(alone[0], 1)] if alone else found

    def claim(self, job_ids: Sequence[str], token: int) -> None:
        assert token > self.token, "a token is higher than all before it"
        self.token = token
        self.claims.add(token)
        for job_id in job_ids:
            job = self.jobs[job_id]
            job.state, job.token = "running", token
            job.attempts += 1

    def of_claim(self, token: int) -> list[str]:
        return [job_id for job_id, job in self.jobs.items() if job.token == token]

    def end(self, token: int, ends: Sequence[End], now: int) -> bool:
        """End jobs; False, and nothing is done, where the claim was taken away."""
        if token not in self.claims:
            return False
        for end in ends:
            if self.jobs[end.job].token == token:
                self._end(self.jobs[end.job], end, now)
        return True

    def _end(self, job: ModelJob, end: End, now: int) -> None:
        if end.how == "done":
            job.completions += 1
            job.leave("done")
            return
        if job.is_cancel_asked:
            job.leave("cancelled")
            return
        match end.how:
            case "failed" | "permanent":
                job.fail(now, end.delay, is_permanent=end.how == "permanent")
            case "unknown":
                job.attempts -= 1
                job.leave("unknown")
            case "back":
                job.attempts -= 1
                job.leave("queued")
            case _:
                job.attempts -= 1
                job.wait(now + end.delay, now)

    def let_go(self, token: int, now: int) -> None:
        """End a claim: what it has not ended goes back to its place."""
        self.end(token, [End(job=job_id, how="back") for job_id in self.of_claim(token)], now)
        self.claims.discard(token)

    def take_away(self, token: int, now: int) -> None:
        """Take a claim from a dead or silent holder: each of its jobs has used up an attempt."""
        self.end(token, [End(job=job_id, how="failed") for job_id in self.of_claim(token)], now)
        self.claims.discard(token)

    # --- what a person does: None where it is refused

    def decide(self, what: str, job_id: str, now: int) -> str | None:
        """Return the state of the job afterwards, None where this can't be done to it."""
        decisions: dict[str, Callable[[ModelJob, int], bool]] = {
            "requeue": _requeue,
            "cancel": _cancel,
            "discard": _discard,
        }
        job = self.jobs[job_id]
        return job.state if decisions[what](job, now) else None

    def resolve(self, job_id: str, now: int, *, is_done: bool, in_doubt: bool) -> str | None:
        """A job whose effects were in doubt runs again in any case, and is told of them."""
        job = self.jobs[job_id]
        if job.state != "unknown":
            return None
        if is_done and not in_doubt:
            job.completions += 1
            job.leave("done")
        else:
            job.wait(now, now)
        return job.state


def _requeue(job: ModelJob, now: int) -> bool:
    if job.state not in ("dead", "scheduled"):
        return False
    job.attempts = 0
    job.wait(now, now)
    return True


def _cancel(job: ModelJob, now: int) -> bool:
    if job.state == "running":
        job.is_cancel_asked = True
        return True
    if job.state not in ("scheduled", "queued", "unknown"):
        return False
    job.leave("cancelled")
    return True


def _discard(job: ModelJob, now: int) -> bool:
    if job.state != "dead":
        return False
    job.leave("discarded")
    return True
