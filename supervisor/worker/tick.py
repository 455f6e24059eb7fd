"""One tick, top to bottom: gates, one bounded unit of work, record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import anyio
import anyio.lowlevel

from supervisor.errors import (
    CommandConflict,
    HttpFailed,
    OutputRejected,
    ProviderFailed,
    Refusal,
    StoreUnavailable,
    SupervisorError,
    cause_of,
    storable,
)
from supervisor.events.log import Origin
from supervisor.events.value_kinds import ValueReported
from supervisor.governance.in_flight import Flight
from supervisor.governance.worth import value_of
from supervisor.jobs.progress import ItemsChanged
from supervisor.outcome import KEEPING_OUTCOMES, WORKER_OUTCOMES, Outcome
from supervisor.redaction import REDACTION
from supervisor.worker.context import Context
from supervisor.worker.occurrences import Claim
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.records import (
    Ending,
    Skipped,
    TakenElsewhere,
    TickRequest,
    begin_tick,
    finish_tick,
)

_STORE_RETRY_S = 1.0
#: Nos, and failures of the world or of what a worker has made: none of them is its crash.
_OUTSIDE = (
    Refusal,
    ProviderFailed,
    HttpFailed,
    OutputRejected,
    ItemsChanged,
    StoreUnavailable,
)
_WHY_MAX = 500
_NEXT_IS_DUE = "its next occurrence is due, and overlap = cancel"


class WorkerCrashed(Exception):
    """A worker's code raised what it should not have; `__cause__` is what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TickEnd:
    """What the loop needs to know of a tick; `refusal` is the no that ended or skipped it.

    `is_elsewhere` says that there was none: its occurrence was taken before. `why` is as on record.
    """

    outcome: Outcome
    session_id: str | None = None
    refusal: Refusal | None = None
    is_elsewhere: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """Why a tick comes: one of the worker's tickets was decided, or an occurrence is due.

    At `cancel_at` it is cancelled, as the next occurrence is due; None for never.
    """

    is_called: bool = False
    claim: Claim | None = None
    cancel_at: datetime | None = None


_PLAIN = Occasion()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a worker's code came back: its outcome, and why, unless it went well."""

    outcome: Outcome
    code: str = ""
    why: str = ""
    refusal: Refusal | None = None
    crash: BaseException | None = None
    error: SupervisorError | None = None
    state: str | None = None

    @property
    def kept_why(self) -> str:
        """Why, as it goes on record."""
        # Redacted before it is cut: half of a secret is not known as one.
        return REDACTION.text(storable(self.why))[:_WHY_MAX]


async def run_tick(kernel: Kernel, plan: WorkerPlan, occasion: Occasion = _PLAIN) -> TickEnd:
    """Run one tick of the worker through every gate and record its end.

    Raises:
        WorkerCrashed: the worker raised; the tick is recorded as failed.
        StoreUnavailable: the store could not be asked, which counts as a no of every gate.
    """
    # Shielded: a begun tick is always seen to its recorded end.
    with anyio.CancelScope(shield=True):
        request = tick_request(kernel, plan, occasion)
        begun = await kernel.database.write(begin_tick, request, origin_now(kernel, plan))
    if isinstance(begun, TakenElsewhere):
        return TickEnd(outcome=Outcome.SKIPPED, is_elsewhere=True)
    if isinstance(begun, Skipped):
        session_id = begun.session.id if begun.session else None
        no = begun.refusal
        return TickEnd(outcome=Outcome.SKIPPED, session_id=session_id, refusal=no, why=str(no))
    ctx = Context(kernel, plan, tick=begun.tick, session=begun.session, state=begun.state)
    ctx.calls.go_on(begun.streak, is_watched=begun.is_watched)
    began_s = kernel.clock.monotonic()
    verdict = Verdict(outcome=Outcome.CANCELLED, why="the daemon stopped")
    try:
        verdict = await run_worker(kernel, plan, ctx, occasion)
    finally:
        with anyio.CancelScope(shield=True):
            await ctx.close()
            if ctx.handed_over is not None:
                ctx.handed_over.keep_drafts()
            await _record_end(kernel, plan, ctx, verdict, began_s)
    if verdict.crash is not None:
        raise WorkerCrashed(plan.name) from verdict.crash
    return TickEnd(
        outcome=verdict.outcome,
        session_id=begun.session.id,
        refusal=verdict.refusal,
        why=verdict.why,
    )


def tick_request(kernel: Kernel, plan: WorkerPlan, occasion: Occasion = _PLAIN) -> TickRequest:
    """Return what a worker asks the gates."""
    return TickRequest(
        boot_id=kernel.boot_id,
        session=plan.session,
        budgets=kernel.policy.budgets,
        # Where others stand behind it, an account of that one model alone stops no tick.
        model="" if plan.fallback else plan.model,
        is_free=_is_free(kernel, plan),
        identity=plan.identity,
        is_called=occasion.is_called,
        claim=occasion.claim,
    )


def _is_free(kernel: Kernel, plan: WorkerPlan) -> bool:
    """Return whether the worker's next call can cost nothing; a class can where one of it does."""
    routing, model = kernel.policy.routing, plan.model
    names = routing.classes.get(model, (model,)) if routing is not None else (model,)
    return any(kernel.models.is_free(name) for name in (*names, *plan.fallback))


def origin_now(kernel: Kernel, plan: WorkerPlan) -> Origin:
    """Return the origin of what the worker does now, outside of any tick."""
    return Origin(at=kernel.clock.now(), actor=f"worker:{plan.name}")


async def run_worker(
    kernel: Kernel, plan: WorkerPlan, ctx: Context, occasion: Occasion = _PLAIN
) -> Verdict:
    """Call the worker, under its timeout and within reach of every kill."""
    verdict = Verdict(outcome=Outcome.CANCELLED)
    left_s = plan.tick_timeout_s
    if occasion.cancel_at is not None:
        left_s = min(left_s, (occasion.cancel_at - kernel.clock.now()).total_seconds())
    with (
        anyio.move_on_after(left_s) as scope,
        kernel.in_flight.register(plan.name, ctx.session.id, scope) as flight,
    ):
        verdict = await _call_worker(plan, ctx)
    if flight.killed_by is None and scope.cancelled_caught:
        if left_s < plan.tick_timeout_s and not flight.stuck_why:
            return Verdict(outcome=Outcome.CANCELLED, code="overlap", why=_NEXT_IS_DUE)
        return _timed_out(plan, flight)
    return _killed(flight) or verdict


def _timed_out(plan: WorkerPlan, flight: Flight) -> Verdict:
    code, why = "stuck", flight.stuck_why
    if not why:
        code = "tick_timeout"
        why = f"it took longer than tick_timeout_s = {plan.tick_timeout_s:g}"
    return Verdict(outcome=Outcome.TIMED_OUT, code=code, why=why)


def _killed(flight: Flight) -> Verdict | None:
    refusal = flight.killed_by
    if refusal is None:
        return None
    return Verdict(outcome=Outcome.CANCELLED, code=refusal.code, why=str(refusal), refusal=refusal)


async def _call_worker(plan: WorkerPlan, ctx: Context) -> Verdict:
    try:
        # Whatever a worker returns, whatever its annotation says.
        returned: object = await plan.function(ctx)
        outcome = _outcome(returned)
        if outcome is not None and ctx.handed_over is not None:
            # While the tick still runs: a kill and the timeout reach what is sent now.
            await ctx.handed_over.conclude(outcome)
    except BaseException as error:  # noqa: BLE001 - a child's border: whatever it is, it is recorded
        # Where the tick is being cancelled, this raises again; a CancelledError that a worker
        # has from somewhere else, or a SystemExit, is its crash and nobody else's.
        await anyio.lowlevel.checkpoint_if_cancelled()
        return _raised(error)
    if outcome is None:
        wrong = TypeError(f"{plan.name} returned {returned!r}, which is no Outcome of a worker")
        return Verdict(outcome=Outcome.FAILED, code="TypeError", why=str(wrong), crash=wrong)
    return _with_state(outcome, ctx)


def _outcome(returned: object) -> Outcome | None:
    if returned is None:
        return Outcome.OK
    if isinstance(returned, str) and returned in WORKER_OUTCOMES:
        return Outcome(returned)
    return None


def _raised(error: BaseException) -> Verdict:
    told = _expected(error)
    if isinstance(told, Refusal):
        return Verdict(outcome=Outcome.REFUSED, code=told.code, why=str(told), refusal=told)
    if told is not None:
        # The world failed, not the worker: it is no crash, and the next tick comes as planned.
        return Verdict(outcome=Outcome.FAILED, code=told.code, why=str(told), error=told)
    ours = error if isinstance(error, SupervisorError) else None
    code = type(error).__name__ if ours is None else ours.code
    why = cause_of(error)
    return Verdict(outcome=Outcome.FAILED, code=code, why=why, crash=error, error=ours)


def _expected(error: BaseException) -> SupervisorError | None:
    """Return the refusal or outside failure that `error` is, or is a group of nothing but."""
    if isinstance(error, _OUTSIDE):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    told = [_expected(member) for member in error.exceptions]
    if None in told:
        return None
    refusals = (member for member in told if isinstance(member, Refusal))
    return next(refusals, told[0])


def _with_state(outcome: Outcome, ctx: Context) -> Verdict:
    try:
        state = ctx.state.encode()
        # Redacted here already: the next tick gets what is kept, not what was remembered of it.
        kept = None if state is None else REDACTION.text(state)
        return Verdict(outcome=outcome, state=kept, why=ctx.why(outcome))
    except (TypeError, ValueError) as error:
        why = f"ctx.state can't be kept: {error}"
        return Verdict(outcome=Outcome.FAILED, code="state_not_kept", why=why, crash=error)


async def _record_end(
    kernel: Kernel, plan: WorkerPlan, ctx: Context, verdict: Verdict, began_s: float
) -> None:
    """Write the tick's end, however long the store takes: nothing runs on without it."""
    ending = ending_of(kernel, plan, ctx, verdict, began_s)
    ends = ctx.calls.take_ends()
    while True:
        try:
            # Behind the ends that are on their way, in the order of calls: they share the fsync.
            written = kernel.database.write(finish_tick, ending, ctx.calls.origin(), ends)
            await _flush(kernel, ctx)
            await written
            return
        except StoreUnavailable as error:
            kernel.log.error(
                "tick_end_not_written", worker=plan.name, tick=ctx.tick, error=str(error)
            )
            if kernel.is_stopping:
                return
            await anyio.sleep(_STORE_RETRY_S)
        except CommandConflict as error:
            # Somebody else has ended one of its holds, and nobody's end is written twice: the
            # tick ends without these, and forfeits what is still open.
            _say_not_ended(kernel, ctx, error)
            ends = []


async def _flush(kernel: Kernel, ctx: Context) -> None:
    try:
        await ctx.calls.flush()
    except StoreUnavailable as error:
        _say_not_ended(kernel, ctx, error)


def _say_not_ended(kernel: Kernel, ctx: Context, error: SupervisorError) -> None:
    kernel.log.error("hold_end_not_written", worker=ctx.name, tick=ctx.tick, error=str(error))


def ending_of(
    kernel: Kernel, plan: WorkerPlan, ctx: Context, verdict: Verdict, began_s: float
) -> Ending:
    """Return what is written of a tick's end."""
    handed = ctx.handed_over
    return Ending(
        worker=plan.name,
        tick=ctx.tick,
        session_id=ctx.session.id,
        outcome=verdict.outcome,
        duration_s=round(kernel.clock.monotonic() - began_s, 6),
        checkpoint_every=plan.checkpoint_every,
        code=verdict.code,
        is_crash=verdict.crash is not None,
        why=verdict.kept_why,
        state=verdict.state,
        published=tuple(handed.published) if handed else (),
        remembered_max=handed.remembered_max if handed else 0,
        rejection=handed.event if handed else None,
        handoff_note=ctx.handoff_note if verdict.outcome in WORKER_OUTCOMES else None,
        streak=ctx.calls.streak,
        breakers=kernel.policy.breakers,
        is_watched=ctx.calls.is_watched,
        value=value_reported(plan, ctx, verdict.outcome),
        jobs=ctx.jobs.take_requests() if verdict.outcome in KEEPING_OUTCOMES else (),
    )


def value_reported(plan: WorkerPlan, ctx: Context, outcome: Outcome) -> ValueReported | None:
    """Return what the worker's code was worth, None for nothing."""
    # A tick that failed, crashed, hung or was refused has saved nobody anything, whatever it said.
    if outcome not in KEEPING_OUTCOMES:
        return None
    is_ok = outcome is Outcome.OK
    return value_of(plan.value, ctx.saved_by_now, worker=plan.name, tick=ctx.tick, is_ok=is_ok)
