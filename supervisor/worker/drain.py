"""One tick of a queue worker: jobs of one claim, one after the other, each ended by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import msgspec

from supervisor.errors import StoreUnavailable
from supervisor.events.value_kinds import ValueReported
from supervisor.governance.outputs import Remembered
from supervisor.governance.worth import worth
from supervisor.jobs.queue import Candidate
from supervisor.outcome import KEEPING_OUTCOMES, Outcome
from supervisor.worker.calls import Calls
from supervisor.worker.context import Context
from supervisor.worker.handed_over import HandedOver
from supervisor.worker.job_endings import Endings
from supervisor.worker.job_verdicts import graver, job_end, refusal_of_all
from supervisor.worker.jobs import CurrentJob, JobHand
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.queue_records import (
    Claimed,
    FinishedJob,
    Ration,
    TickHolding,
    begin_queue_tick,
)
from supervisor.worker.records import Ending, Skipped
from supervisor.worker.tick import (
    Occasion,
    TickEnd,
    Verdict,
    origin_now,
    run_worker,
    tick_request,
    value_reported,
)

_SECOND_US = 1_000_000
#: A batch that has taken longer than this begins no further job: others may have them.
_BATCH_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainEnd(TickEnd):
    """The end of a tick for jobs; `jobs_s` is how long they took, without the store's part."""

    jobs_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A tick that was asked for; `begun` is what the store says, once its commit is done."""

    plan: WorkerPlan
    begun: Awaitable[Claimed | Skipped | None]


def ask_for_jobs(
    kernel: Kernel, plan: WorkerPlan, *, jobs_max: int, is_called: bool = False
) -> Asked:
    """Begin a tick and claim jobs that are due, `jobs_max` at most, in the commit that is next.

    Whoever asks must either run the tick or give it back.
    """
    # A unit whose output is judged is a tick's only one: its drafts lie under the tick's number.
    ration = Ration(
        queue=plan.queue,
        jobs_max=1 if plan.checks.names else jobs_max,
        lease_us=round(kernel.policy.jobs.lease_s * _SECOND_US),
    )
    request = tick_request(kernel, plan, Occasion(is_called=is_called))
    origin = origin_now(kernel, plan)
    return Asked(plan, kernel.database.write(begin_queue_tick, request, ration, origin))


async def give_back(kernel: Kernel, asked: Asked) -> None:
    """End a tick that nobody runs any more: its jobs go back as they were."""
    with anyio.CancelScope(shield=True):
        try:
            begun = await asked.begun
        except StoreUnavailable as error:
            kernel.log.error("store_unavailable", worker=asked.plan.name, error=str(error))
            return
        if isinstance(begun, Claimed):
            await Drain(kernel, asked.plan, begun).finish()


async def run_queue_tick(
    kernel: Kernel,
    asked: Asked,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> DrainEnd | None:
    """Do the jobs that were asked for, and record each end.

    None where no job was due: then there was no tick. A job that raises has failed, and is no
    crash of its worker. Once `should_stop`, the jobs that are not begun go back.

    Raises:
        StoreUnavailable: the store could not be asked, which counts as a no of every gate.
    """
    plan = asked.plan
    # Shielded: a begun tick is always seen to its recorded end.
    with anyio.CancelScope(shield=True):
        begun = await asked.begun
    if begun is None:
        return None
    if isinstance(begun, Skipped):
        session_id = begun.session.id if begun.session else None
        no = begun.refusal
        return DrainEnd(outcome=Outcome.SKIPPED, session_id=session_id, refusal=no, why=str(no))
    drain = Drain(kernel, plan, begun)
    kernel.in_hand.hold(begun.claim.token, drain)
    try:
        await drain.run(should_stop)
    finally:
        drain.note_jobs_done()
        kernel.in_hand.drop(begun.claim.token)
        with anyio.CancelScope(shield=True):
            await drain.finish()
    return drain.end


class Drain:
    """The jobs of one claim. Written only by its tick's task."""

    def __init__(self, kernel: Kernel, plan: WorkerPlan, begun: Claimed) -> None:
        self._kernel = kernel
        self._plan = plan
        self._claim = begun.claim
        self._session = begun.started.session
        self._tick = begun.started.tick
        self._state = begun.started.state
        self._began_s = kernel.clock.monotonic()
        self._jobs_s = 0.0
        self._hand = TickHolding(
            worker=plan.name,
            tick=self._tick,
            session_id=self._session.id,
            queue=plan.queue,
            token=begun.claim.token,
            timezone=plan.session.timezone,
        )
        self._calls = Calls(kernel, plan, tick=self._tick, session_id=self._session.id)
        self._calls.go_on(begun.started.streak, is_watched=begun.started.is_watched)
        self._endings = Endings(kernel, self._hand, self._calls)
        self._worst: Verdict | None = None
        self._handoff_note: str | None = None
        self._value: ValueReported | None = None
        self._published: list[Remembered] = []
        self._outputs: HandedOver | None = None
        self._running = ""
        self._scope = anyio.CancelScope()

    @property
    def end(self) -> DrainEnd:
        """What the tick came to, as the loop needs to know it."""
        verdict = self._verdict()
        return DrainEnd(
            outcome=verdict.outcome,
            why=verdict.why,
            session_id=self._session.id,
            refusal=refusal_of_all(verdict),
            jobs_s=self._jobs_s,
        )

    def note_jobs_done(self) -> None:
        """Note how long the jobs took: what comes after them is the store's."""
        self._jobs_s = self._kernel.clock.monotonic() - self._began_s

    def lose(self) -> None:
        """End the job that runs: somebody else has the claim."""
        self._endings.is_lost = True
        self._scope.cancel()

    def cancel(self, job_id: str) -> None:
        """End this job, if it is the one that runs: a person wants it."""
        if job_id == self._running:
            self._scope.cancel()

    async def run(self, should_stop: Callable[[], bool]) -> None:
        """Do one job after the other, until one is refused or others should have the rest."""
        last = self._claim.jobs[-1]
        for candidate in self._claim.jobs:
            if self._endings.is_lost or (self._worst is not None and self._is_over(should_stop)):
                return
            verdict = await self._run_job(candidate, is_last=candidate is last)
            if refusal_of_all(verdict) is not None:
                return
            # Also a job that awaits nothing lets the others have their turn.
            await anyio.lowlevel.checkpoint()

    def _is_over(self, should_stop: Callable[[], bool]) -> bool:
        has_taken_s = self._kernel.clock.monotonic() - self._began_s
        return self._kernel.is_stopping or should_stop() or has_taken_s > _BATCH_S

    async def _run_job(self, candidate: Candidate, *, is_last: bool) -> Verdict:
        """Do one job, and hand over its end."""
        job = CurrentJob(candidate, self._claim)
        ctx = Context(
            self._kernel,
            self._plan,
            tick=self._tick,
            session=self._session,
            state=self._state,
            hand=JobHand(job, self._calls, self._endings.settle),
        )
        verdict = Verdict(outcome=Outcome.CANCELLED, why="the daemon stopped")
        self._running, self._scope = job.id, anyio.CancelScope()
        try:
            with self._scope:
                verdict = await run_worker(self._kernel, self._plan, ctx)
        finally:
            self._running = ""
            with anyio.CancelScope(shield=True):
                await ctx.close()
                if ctx.handed_over is not None:
                    ctx.handed_over.keep_drafts()
            self._endings.add(self._finished(job, ctx, verdict), is_last=is_last)
        return verdict

    def _finished(self, job: CurrentJob, ctx: Context, verdict: Verdict) -> FinishedJob:
        if verdict.crash is not None:
            self._kernel.log.warning(
                "job_failed",
                worker=self._plan.name,
                job_id=job.id,
                attempt=job.attempt,
                exc_info=verdict.crash,
            )
        end = job_end(job, verdict, self._kernel.policy.jobs, self._kernel.chance)
        self._outputs = ctx.handed_over
        self._published += self._outputs.published if self._outputs else ()
        state = ctx.state.committed if verdict.state is None else verdict.state
        if state is not None:
            self._state = state
        is_kept = verdict.outcome in KEEPING_OUTCOMES
        if is_kept:
            self._handoff_note = ctx.handoff_note or self._handoff_note
            value = value_reported(self._plan, ctx, verdict.outcome)
            self._value = _sum(self._value, value)
        requests = ctx.jobs.take_requests() if is_kept else ()
        self._worst = graver(self._worst, verdict)
        return FinishedJob(end=end, state=state, jobs=requests)

    def _verdict(self) -> Verdict:
        if self._endings.is_lost:
            return Verdict(outcome=Outcome.FAILED, code="lease_lost")
        return self._worst or Verdict(outcome=Outcome.CANCELLED, why="the daemon stopped")

    async def finish(self) -> None:
        """Write the tick's end with the rest of its jobs, however long the store takes."""
        verdict = self._verdict()
        ending = Ending(
            worker=self._plan.name,
            tick=self._tick,
            session_id=self._session.id,
            outcome=verdict.outcome,
            duration_s=round(self._kernel.clock.monotonic() - self._began_s, 6),
            checkpoint_every=self._plan.checkpoint_every,
            code=verdict.code,
            why=verdict.kept_why,
            handoff_note=self._handoff_note,
            value=self._value,
            streak=self._calls.streak,
            breakers=self._kernel.policy.breakers,
            is_watched=self._calls.is_watched,
            published=tuple(self._published),
            remembered_max=self._outputs.remembered_max if self._outputs else 0,
            rejection=self._outputs.event if self._outputs else None,
        )
        await self._endings.finish(ending)


def _sum(before: ValueReported | None, value: ValueReported | None) -> ValueReported | None:
    """Return what the jobs of a tick were worth together."""
    if before is None or value is None:
        return before or value
    saved = before.micro_hours + value.micro_hours
    return msgspec.structs.replace(value, micro_hours=saved, worth=worth(saved, value.rate))
