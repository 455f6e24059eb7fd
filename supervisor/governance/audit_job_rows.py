"""What a row of a job has to be like by itself, whatever its events say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from supervisor.jobs.endings import Failure
from supervisor.jobs.job import JobState
from supervisor.storage.database import Transaction

_OVER = frozenset({JobState.DONE, JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED})
_HISTORY = msgspec.json.Decoder(list[Failure])
_TEXT_MAX = 80


class JobRow(msgspec.Struct, frozen=True):
    """A row of a job as the audit reads it: as little as possible is taken for granted."""

    number: int
    id: str
    queue: str
    payload: str
    state: str
    attempts: int
    attempts_max: int
    token: int | None
    history: str
    ended_at: int | None


class JobCount(msgspec.Struct, frozen=True):
    """How many jobs of a queue are said to be in a state."""

    queue: str
    state: str
    jobs: Annotated[int, msgspec.Meta(ge=0)]


class _Claim(msgspec.Struct, frozen=True):
    token: int


def row_faults(row: JobRow, claims: frozenset[int]) -> Iterator[str]:
    """Yield what no row of ours says; `claims` are those that are open."""
    state = row.state[:_TEXT_MAX]
    if row.state not in set(JobState):
        yield f"is in the state {state!r}, and there is none"
    if row.attempts < 0 or row.attempts_max < 1:
        yield f"has used up {row.attempts} of {row.attempts_max} attempts"
    if (row.state == JobState.RUNNING) != (row.token is not None):
        yield f"is {state}, with the claim {row.token}"
    elif row.token is not None and row.token not in claims:
        yield f"is {state} under claim {row.token}, and there is none"
    if row.state in set(JobState) and (row.state in _OVER) != (row.ended_at is not None):
        yield f"is {state}, and ended at {row.ended_at}"
    if not _is_json(row.payload):
        yield "its payload is no JSON"
    if not _is_history(row.history):
        yield "its history can't be read"


def open_claims(tx: Transaction) -> frozenset[int]:
    """Return the tokens of the claims that are open."""
    return frozenset(claim.token for claim in tx.rows("audit_jobs.claims", _Claim))


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True


def _is_history(text: str) -> bool:
    try:
        _HISTORY.decode(text)
    except msgspec.DecodeError:
        return False
    return True
