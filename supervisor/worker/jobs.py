"""A worker's way to jobs: those that it wants done, and the one that it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypedDict, Unpack

import msgspec

from supervisor.clock import to_us
from supervisor.errors import InputRefused, Refusal
from supervisor.events.log import Journal, Origin
from supervisor.governance.breaker import Asker
from supervisor.governance.gates import first_refusal, look
from supervisor.jobs.job import Enqueued, JobRequest, Terms, request_job
from supervisor.jobs.queue import Candidate, Claim, enqueue_all
from supervisor.storage.database import Joined, Transaction
from supervisor.worker.calls import Calls
from supervisor.worker.plan import Kernel
from supervisor.worker.state import Json

_DELAY_MAX_S = 10 * 366 * 86_400.0
_WITH_TICK_MAX = 1_000


class Wishes(TypedDict, total=False):
    """How a job is to be done; what is left out is as [jobs] says."""

    key: str
    priority: int
    run_at: datetime
    delay_s: float
    attempts_max: int


class JobAccess:
    """Enqueues jobs. Used only by the tick that it was made for."""

    def __init__(self, kernel: Kernel, calls: Calls, *, asker: Asker, session_id: str) -> None:
        self._kernel = kernel
        self._calls = calls
        self._asker = asker
        self._session_id = session_id
        self._requests: list[JobRequest] = []

    async def enqueue(self, queue: str, payload: object, /, **wishes: Unpack[Wishes]) -> Enqueued:
        """Put a job in a queue, durably, whatever becomes of this tick.

        `payload` is JSON. With the same `key` again nothing is done, and the first job is given
        back; without one the payload is the key. A higher `priority` goes first. It waits until
        `run_at`, or for `delay_s` seconds.

        Raises:
            InputRefused: the payload is not JSON or too large, or a word is out of its bounds.
            CommandConflict: the key was used for another payload.
            Refusal: a gate said no.
        """
        request = self._request(queue, payload, wishes)
        written = self._kernel.database.write(
            _enqueue,
            Wanted(
                asker=self._asker,
                session_id=self._session_id,
                request=request,
                origin=self._calls.origin(),
            ),
        )
        if not request.run_at:
            self._kernel.idle.expect(queue)
        made = await written
        if isinstance(made, Refusal):
            raise made
        return made

    def enqueue_with_tick(self, queue: str, payload: object, /, **wishes: Unpack[Wishes]) -> str:
        """Put a job in a queue in the transaction that ends this tick well, and return its id.

        For a worker of a queue it is the transaction that completes its job, and within `ctx.each`
        the one that commits the item. A tick, job or item that fails enqueues nothing.

        Raises:
            InputRefused: as for `enqueue`, or there are more than 1,000.
        """
        request = self._request(queue, payload, wishes)
        if len(self._requests) >= _WITH_TICK_MAX:
            raise InputRefused(
                subject=f"job of queue {queue!r}",
                what=f"is one of more than {_WITH_TICK_MAX} with one tick",
                fix="enqueue in several ticks, or use ctx.jobs.enqueue",
            )
        self._requests.append(request)
        return request.id

    @property
    def requests(self) -> tuple[JobRequest, ...]:
        """What is to be enqueued with the end of the tick, or of its item."""
        return tuple(self._requests)

    def take_requests(self) -> tuple[JobRequest, ...]:
        """Return what is to be enqueued with the end; who takes it writes it."""
        requests, self._requests = tuple(self._requests), []
        return requests

    def _request(self, queue: str, payload: object, wishes: Wishes) -> JobRequest:
        now = self._kernel.clock.now()
        run_at = wishes.get("run_at", now)
        delay_s = wishes.get("delay_s", 0.0)
        subject = f"job of queue {queue!r}"
        if run_at.tzinfo is None:
            fix = "give an aware datetime, such as ctx.clock.now() + timedelta(hours=1)"
            raise InputRefused(subject=subject, what="run_at has no timezone", fix=fix)
        if not 0 <= delay_s <= _DELAY_MAX_S:  # also refuses nan
            fix = "give seconds, up to ten years"
            raise InputRefused(subject=subject, what=f"delay_s {delay_s} is none", fix=fix)
        due = max(run_at, now) + timedelta(seconds=delay_s)
        terms = Terms(
            key=wishes.get("key"),
            priority=wishes.get("priority", 0),
            run_at=to_us(due) if due > now else 0,
            attempts_max=wishes.get("attempts_max", 0),
        )
        return request_job(queue, payload, terms, self._kernel.policy.jobs)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A job that somebody wants at once, and the gates that are asked for it."""

    asker: Asker
    session_id: str
    request: JobRequest
    origin: Origin


def _enqueue_all(tx: Transaction, calls: Sequence[Wanted]) -> Sequence[Enqueued | Refusal]:
    refusals = [first_refusal(look(tx, call.asker, now=call.origin.at)) for call in calls]
    allowed = [call for call, no in zip(calls, refusals, strict=True) if no is None]
    journals = [Journal(tx, call.session_id, call.origin) for call in allowed]
    made = enqueue_all(
        tx, [(journal, call.request) for journal, call in zip(journals, allowed, strict=True)]
    )
    for journal, one in zip(journals, made, strict=True):
        if one.is_new:
            journal.flush()
    answers = iter(made)
    return [next(answers) if no is None else no for no in refusals]


_enqueue = Joined(_enqueue_all)


@dataclass(frozen=True, slots=True)
class JobHand:
    """A job in hand, its tick's calls, and what writes the ends of the tick's jobs before it."""

    job: CurrentJob
    calls: Calls
    settle: Callable[[], Awaitable[None]]


class CurrentJob:
    """The job that a tick is for."""

    def __init__(self, candidate: Candidate, claim: Claim) -> None:
        self.id = candidate.id
        self.queue = claim.queue
        self.attempt = candidate.attempts + 1
        self.attempts_max = candidate.attempts_max
        #: Higher than that of every claim before: an outside system may refuse lower ones.
        self.token = claim.token
        self._payload = candidate.payload

    @cached_property
    def payload(self) -> Json:
        """What the job was enqueued with."""
        payload: Json = msgspec.json.decode(self._payload)
        return payload
