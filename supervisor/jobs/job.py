"""What a job is, and the moves that it can make."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from types import MappingProxyType

import msgspec

from supervisor.errors import InputRefused
from supervisor.redaction import REDACTION

_NAME_MAX = 128
_KEY_MAX = 256
PRIORITY_MAX = 1_000_000
ATTEMPTS_MAX = 1_000


class JobState(StrEnum):
    """Where a job is; `scheduled` becomes `queued` when its time has come, by itself."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"


#: The same moves as the trigger `jobs_legal_moves` allows.
MOVES = MappingProxyType(
    {
        JobState.SCHEDULED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
        JobState.RUNNING: frozenset(JobState) - {JobState.RUNNING, JobState.DISCARDED},
        JobState.UNKNOWN: frozenset({JobState.QUEUED, JobState.DONE, JobState.CANCELLED}),
        JobState.DEAD: frozenset({JobState.QUEUED, JobState.DISCARDED}),
        JobState.DONE: frozenset[JobState](),
        JobState.CANCELLED: frozenset[JobState](),
        JobState.DISCARDED: frozenset[JobState](),
    }
)


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A job that somebody wants; `payload` is JSON, `run_at` in microseconds, 0 for now."""

    queue: str
    key: str
    payload: str
    priority: int
    run_at: int
    attempts_max: int

    @property
    def id(self) -> str:
        """The one id that a queue and a key give."""
        named = f"{len(self.queue)}:{self.queue}{self.key}"
        return f"job-{hashlib.sha256(named.encode()).hexdigest()[:24]}"

    @property
    def digest(self) -> str:
        """The payload's hash, which stands in the record."""
        return payload_digest(self.payload)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How a job is wanted: `run_at` in microseconds, 0 for now; 0 attempts are the config's."""

    key: str | None = None
    priority: int = 0
    run_at: int = 0
    attempts_max: int = 0


class JobRules(msgspec.Struct, frozen=True, kw_only=True):
    """What [jobs] says of every queue; spans in seconds."""

    lease_s: float = 30.0
    attempts_max: int = 5
    retry_delay_s: float = 1.0
    retry_delay_max_s: float = 300.0
    batch_max: int = 32
    payload_max_bytes: int = 65_536


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a job; moments in microseconds since 1970 UTC."""

    number: int
    id: str
    queue: str
    job_key: str
    payload: str
    priority: int
    run_at: int
    state: JobState
    attempts: int
    attempts_max: int
    token: int | None
    is_cancel_asked: bool
    error: str
    history: str
    enqueued_at: int
    started_at: int | None
    ended_at: int | None


class Enqueued(msgspec.Struct, frozen=True, kw_only=True):
    """The job of a key; `is_new` is False where it was there already."""

    id: str
    is_new: bool


def payload_digest(payload: str) -> str:
    """Return the hash of a payload as the store keeps it."""
    return hashlib.sha256(payload.encode()).hexdigest()


def request_job(queue: str, payload: object, terms: Terms, rules: JobRules) -> JobRequest:
    """Return a checked request; without a key the payload is its own.

    Raises:
        InputRefused: the payload is not JSON or above its bound, or a word is out of its bounds.
    """
    subject = f"job of queue {queue!r}"
    if not 0 < len(queue) <= _NAME_MAX or not queue.isprintable():
        raise InputRefused(
            subject=subject, what="the queue has no usable name", fix=f"use 1 to {_NAME_MAX} signs"
        )
    encoded = _encode(subject, payload)
    size, size_max = len(encoded.encode()), rules.payload_max_bytes
    if size > size_max:
        raise InputRefused(
            subject=subject,
            what=f"its payload has {size} bytes, at most {size_max} go",
            fix="put large things into a file and its path into the payload, or raise [jobs]"
            " payload_max_bytes",
        )
    key, attempts_max = terms.key, terms.attempts_max or rules.attempts_max
    if key is not None and not (0 < len(key) <= _KEY_MAX and key.isprintable()):
        raise InputRefused(
            subject=subject, what="has no usable key", fix=f"use 1 to {_KEY_MAX} printable signs"
        )
    _check_number(subject, "priority", terms.priority, (-PRIORITY_MAX, PRIORITY_MAX))
    _check_number(subject, "attempts_max", attempts_max, (1, ATTEMPTS_MAX))
    return JobRequest(
        queue=queue,
        # What differs by a secret alone is another job, although it reads the same.
        key=f"={payload_digest(encoded)}" if key is None else key,
        # Before its hash is taken, which stands in the record beside it.
        payload=REDACTION.text(encoded),
        priority=terms.priority,
        run_at=terms.run_at,
        attempts_max=attempts_max,
    )


def _encode(subject: str, payload: object) -> str:
    fix = "give texts, finite numbers, truths, None, lists and dicts of them"
    try:
        encoded = msgspec.json.encode(payload, order="sorted")
    except (TypeError, ValueError, RecursionError) as error:
        raise InputRefused(
            subject=subject, what=f"its payload is not JSON: {error}", fix=fix
        ) from error
    return encoded.decode()


def _check_number(subject: str, name: str, value: int, bounds: tuple[int, int]) -> None:
    least, most = bounds
    if not least <= value <= most:
        raise InputRefused(
            subject=subject, what=f"{name} {value} is none", fix=f"use {least} to {most}"
        )
