"""What a job's end is, by how its worker's code came back."""

from __future__ import annotations

import random

from supervisor.backoff import full_jitter_s
from supervisor.errors import (
    ActionDenied,
    ApprovalRequired,
    BudgetExceeded,
    InputRefused,
    ModelAccessDenied,
    PermanentFailure,
    PriceUnknown,
    ProviderFailed,
    Refusal,
)
from supervisor.jobs.effects import EffectInFlight, EffectUnknown
from supervisor.jobs.endings import End, JobEnd
from supervisor.jobs.job import JobRules
from supervisor.outcome import Outcome
from supervisor.worker.jobs import CurrentJob
from supervisor.worker.tick import Verdict

_RETRY_FACTOR = 2.0
_SECOND_US = 1_000_000
#: How long a job that waits for a person's decision is put off at a time.
_ASKED_DELAY_US = 30 * _SECOND_US
#: Refusals of what the job itself asks for: the same job is refused again.
_OF_THE_JOB = (InputRefused, PriceUnknown, ModelAccessDenied, ActionDenied)
#: Of what the job does, and not of what the next one does.
_OF_NOW = (ApprovalRequired, EffectUnknown, EffectInFlight)
#: From the mildest to the gravest: what a tick of several jobs has come to.
_GRAVITY = (
    Outcome.NOOP,
    Outcome.OK,
    Outcome.UNKNOWN,
    Outcome.FAILED,
    Outcome.TIMED_OUT,
    Outcome.REFUSED,
    Outcome.CANCELLED,
)


def job_end(job: CurrentJob, verdict: Verdict, rules: JobRules, chance: random.Random) -> JobEnd:
    """Return how the job ends: done, failed, unknown, or back in its queue."""
    why = verdict.kept_why or f"the worker returned {verdict.outcome}, and did not say why"
    match verdict.outcome:
        case Outcome.OK | Outcome.NOOP:
            return JobEnd(id=job.id, end=End.DONE)
        case Outcome.UNKNOWN:
            return JobEnd(id=job.id, end=End.UNKNOWN, why=why)
        case Outcome.REFUSED:
            return _refused(job, verdict.refusal, why)
        case Outcome.CANCELLED:
            return JobEnd(id=job.id, end=End.BACK, why=why)
        case _:
            return JobEnd(
                id=job.id,
                end=End.FAILED,
                why=why,
                is_permanent=isinstance(verdict.error, PermanentFailure),
                delay_us=_retry_delay_us(job, verdict, rules, chance),
            )


def _refused(job: CurrentJob, refusal: Refusal | None, why: str) -> JobEnd:
    if isinstance(refusal, _OF_THE_JOB):
        return JobEnd(id=job.id, end=End.FAILED, why=why, is_permanent=True)
    if isinstance(refusal, EffectUnknown):
        return JobEnd(id=job.id, end=End.UNKNOWN, why=why)
    delay_us: int | None = None
    if isinstance(refusal, EffectInFlight):
        delay_us = _SECOND_US
    elif isinstance(refusal, ApprovalRequired):
        delay_us = _ASKED_DELAY_US
    elif isinstance(refusal, BudgetExceeded):
        # Behind those that wait: one that never fits must not keep the others from their turn.
        delay_us = 0
    return JobEnd(id=job.id, end=End.BACK, why=why, delay_us=delay_us)


def _retry_delay_us(
    job: CurrentJob, verdict: Verdict, rules: JobRules, chance: random.Random
) -> int:
    own_s = full_jitter_s(
        job.attempt,
        first_s=rules.retry_delay_s,
        max_s=rules.retry_delay_max_s,
        factor=_RETRY_FACTOR,
        chance=chance,
    )
    error = verdict.error
    asked_s = (error.retry_after_s or 0.0) if isinstance(error, ProviderFailed) else 0.0
    return round(max(own_s, asked_s) * _SECOND_US)


def refusal_of_all(verdict: Verdict) -> Refusal | None:
    """Return a refusal that the next job would meet, too."""
    refusal = verdict.refusal
    return None if isinstance(refusal, (*_OF_THE_JOB, *_OF_NOW)) else refusal


def graver(one: Verdict | None, other: Verdict) -> Verdict:
    """Return the graver one; the first where they are equal."""
    if one is None or _GRAVITY.index(other.outcome) > _GRAVITY.index(one.outcome):
        return other
    return one
