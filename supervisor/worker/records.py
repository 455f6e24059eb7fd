"""The transactions at a tick's two ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from supervisor.clock import to_us
from supervisor.errors import BudgetExceeded, Refusal
from supervisor.events import kinds
from supervisor.events.hands_kinds import GuardrailOutput
from supervisor.events.log import Journal, Origin
from supervisor.events.value_kinds import ValueReported
from supervisor.governance import gates
from supervisor.governance.breaker import Asker, BreakerRules, to_probe
from supervisor.governance.breakers import TickReport, begin_probe, report_tick
from supervisor.governance.checkpoints import keep_checkpoint, keep_periodic
from supervisor.governance.executions import fail_forfeited
from supervisor.governance.outputs import Remembered, remember_outputs
from supervisor.governance.rotation import (
    SYSTEM,
    SessionPlan,
    is_due,
    rotate_from,
    system_journal,
)
from supervisor.governance.session import Session
from supervisor.identity import NOBODY, Identity
from supervisor.jobs.job import JobRequest
from supervisor.jobs.queue import enqueue_all, find_conflict
from supervisor.ledger import ledger
from supervisor.ledger.accounts import Budgets
from supervisor.ledger.hold_rows import remember_no_holds
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction
from supervisor.storage.memory import Keep, Later
from supervisor.worker.occurrences import Claim, take
from supervisor.worker.placing import HoldEnd, write_ends
from supervisor.worker.streak import Streak


class TickRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that wants to tick; `is_called` says that one of its tickets was decided.

    `claim` is the occurrence of its schedule that it ticks for, None where it ticks for none.
    """

    boot_id: str
    session: SessionPlan
    budgets: Budgets
    model: str
    is_free: bool
    identity: Identity = NOBODY
    is_called: bool = False
    claim: Claim | None = None

    @property
    def worker(self) -> str:
        return self.session.worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A tick that passed the gates; `state` is the worker's, as JSON.

    `is_watched` says that a breaker wants to know how it ends; `streak` is the worker's last call.
    """

    tick: int
    session: Session
    state: str
    streak: Streak
    is_watched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A tick that a gate refused."""

    tick: int
    session: Session | None
    refusal: Refusal


class TakenElsewhere(msgspec.Struct, frozen=True):
    """The occurrence was taken before, by this daemon or by another: there is no tick."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a tick ended; `state` is None where it is not to be kept.

    `published` are its outputs that left, `rejection` is why none did. `jobs` are enqueued
    with it.
    """

    worker: str
    tick: int
    session_id: str
    outcome: Outcome
    duration_s: float
    checkpoint_every: int
    code: str = ""
    why: str = ""
    is_crash: bool = False
    state: str | None = None
    handoff_note: str | None = None
    published: tuple[Remembered, ...] = ()
    remembered_max: int = 0
    rejection: GuardrailOutput | None = None
    value: ValueReported | None = None
    streak: Streak = Streak()
    breakers: BreakerRules = BreakerRules()
    is_watched: bool = True
    jobs: tuple[JobRequest, ...] = ()


class _Worker(msgspec.Struct):
    """What ticks know and change of a worker's row; in place."""

    last_tick: int
    state: str
    ticks_since_checkpoint: int
    last_call: str
    repeats: int


class _Tick(msgspec.Struct, frozen=True):
    outcome: str | None


_WORKERS: Keep[str, _Worker] = Keep("workers")
#: Those that run, by worker and number.
_RUNNING: Keep[tuple[str, int], bool] = Keep("ticks")
_COUNT = Later("workers.count_tick", "number", "session_id", "name")
_BEGIN = Later(
    "workers.begin_tick", "worker", "number", "session_id", "boot_id", "now", is_new=True
)
_END = Later("workers.end_tick", "now", "outcome", "why", "worker", "number")
_PROGRESS = Later(
    "workers.progressed",
    "outcome",
    "now",
    "state",
    "ticks_since_checkpoint",
    "last_call",
    "repeats",
    "name",
)
#: A larger state is read again for each tick, so that what is remembered stays small.
_STATE_REMEMBERED = 65_536
_NO_WORD = "the worker did not say why: `return ctx.failed(why)` does"


def begin_tick(
    tx: Transaction, request: TickRequest, origin: Origin
) -> Started | Skipped | TakenElsewhere:
    """Pass the gates in order, rotate the session if it is due, and record what came of it.

    The occurrence for which it ticks is taken in the same transaction, also where a gate refuses.
    """
    if request.claim is not None and not take(tx, request.worker, request.claim):
        return TakenElsewhere()
    situation = gates.look(tx, Asker(worker=request.worker), now=origin.at)
    # Before the session gate: a killed worker does not rotate, so that its kill stays its own.
    refusal = gates.kill_switch(situation)
    if refusal is None:
        session = _session_for_now(tx, request, situation.session, origin)
        situation = gates.look_at_accounts(
            tx,
            msgspec.structs.replace(situation, session=session),
            request.budgets,
            model=request.model,
            identity=request.identity,
            is_free=request.is_free,
        )
        refusal = gates.first_refusal(situation)
    session_id = situation.session.id if situation.session else None
    worker = _worker(tx, request.worker)
    tick = worker.last_tick = worker.last_tick + 1
    tx.later(_COUNT, tick, session_id, request.worker)
    origin = msgspec.structs.replace(origin, correlation_id=f"{request.worker}#{tick}")
    if refusal is not None:
        _record_skip(tx, request, tick, situation.session, refusal, origin)
        return Skipped(tick=tick, session=situation.session, refusal=refusal)
    assert situation.session is not None, "the session gate lets no tick through without one"
    tx.later(_BEGIN, request.worker, tick, session_id, request.boot_id, to_us(origin.at))
    tx.kept(_RUNNING)[request.worker, tick] = True
    remember_no_holds(tx, request.worker, tick)
    with Journal(tx, situation.session.id, origin) as journal:
        asker = Asker(worker=request.worker, tick=tick)
        begin_probe(tx, journal, to_probe(situation.breakers, asker), asker)
        due_at = request.claim.due if request.claim else 0
        journal.add(kinds.CycleStarted(worker=request.worker, tick=tick, due_at=due_at))
    if request.is_called:
        tx.run("approvals.notice", worker=request.worker, now=to_us(origin.at))
    return Started(
        tick=tick,
        session=situation.session,
        state=worker.state,
        streak=Streak(call=worker.last_call, repeats=worker.repeats),
        is_watched=situation.is_watched,
    )


def _worker(tx: Transaction, name: str) -> _Worker:
    workers = tx.kept(_WORKERS)
    worker = workers.get(name) or tx.row("workers.by_name", _Worker, name=name)
    assert worker is not None, f"worker {name} is not registered"
    if len(worker.state) <= _STATE_REMEMBERED:
        workers[name] = worker
    return worker


def _session_for_now(
    tx: Transaction, request: TickRequest, current: Session | None, origin: Origin
) -> Session | None:
    if current is not None and is_due(current, origin.at):
        checkpoint_now(tx, worker=request.worker, session=current, label="rotation", origin=origin)
    return rotate_from(tx, request.session, current, origin)


def _record_skip(
    tx: Transaction,
    request: TickRequest,
    tick: int,
    session: Session | None,
    refusal: Refusal,
    origin: Origin,
) -> None:
    now, why = to_us(origin.at), str(refusal)
    tx.run(
        "workers.skip_tick",
        worker=request.worker,
        number=tick,
        session_id=session.id if session else None,
        boot_id=request.boot_id,
        now=now,
        why=why,
    )
    tx.run("workers.skipped", name=request.worker, now=now)
    timezone = request.session.timezone
    journal = Journal(tx, session.id, origin) if session else system_journal(tx, timezone, origin)
    with journal:
        if isinstance(refusal, BudgetExceeded):
            ledger.record_exhaustion(tx, journal, refusal)
        journal.add(
            kinds.CycleSkipped(worker=request.worker, tick=tick, code=refusal.code, why=why)
        )


def finish_tick(
    tx: Transaction, ending: Ending, origin: Origin, ends: Sequence[HoldEnd] = ()
) -> bool:
    """End a tick: its holds, its state, its outcome and the event, in one transaction.

    `ends` are those of its holds that are not written yet; one that is still open after them is
    forfeited. Returns False, and changes nothing, where the tick has ended before.

    Raises:
        CommandConflict: one of the holds has ended in another way.
    """
    ending = _without_conflict(tx, ending)
    if not _end(tx, ending, origin):
        return False
    with Journal(tx, ending.session_id, origin) as journal:
        write_ends(tx, journal, ends, ending.breakers)
        why = f"the tick {ending.outcome}"
        left = ledger.forfeit_open(tx, journal, worker=ending.worker, tick=ending.tick, why=why)
        fail_forfeited(tx, journal, left, why=why)
        _progress(tx, journal, ending)
        report_tick(tx, journal, _report(ending), ending.breakers)
        if ending.handoff_note is not None:
            tx.run("sessions.hand_off", id=ending.session_id, note=ending.handoff_note)
    return True


def _without_conflict(tx: Transaction, ending: Ending) -> Ending:
    """Return the ending, failed where one of its jobs has the key of another."""
    conflict = find_conflict(tx, ending.jobs, {}) if ending.jobs else None
    if conflict is None:
        return ending
    failed = Outcome.FAILED
    return msgspec.structs.replace(
        ending, outcome=failed, code=conflict.code, why=str(conflict), state=None, jobs=()
    )


def _report(ending: Ending) -> TickReport:
    return TickReport(
        worker=ending.worker,
        tick=ending.tick,
        outcome=ending.outcome,
        why=ending.why or f"{ending.outcome}; {_NO_WORD}",
        is_crash=ending.is_crash,
        is_watched=ending.is_watched,
    )


def _end(tx: Transaction, ending: Ending, origin: Origin) -> bool:
    """Give the tick its end and return True, or return False where it has one."""
    if tx.kept(_RUNNING).pop((ending.worker, ending.tick), None) is None:
        stored = tx.row("workers.tick", _Tick, worker=ending.worker, number=ending.tick)
        if stored is None or stored.outcome is not None:
            return False
    now = to_us(origin.at)
    tx.later(_END, now, ending.outcome, ending.why, ending.worker, ending.tick)
    return True


def _progress(tx: Transaction, journal: Journal, ending: Ending) -> None:
    worker = _worker(tx, ending.worker)
    worker.ticks_since_checkpoint += 1
    if ending.state is not None:
        worker.state = ending.state
    worker.last_call, worker.repeats = ending.streak.call, ending.streak.repeats
    _record_outputs(tx, journal, ending)
    journal.add(
        kinds.CycleCompleted(
            worker=ending.worker,
            tick=ending.tick,
            outcome=ending.outcome,
            duration_s=ending.duration_s,
            code=ending.code,
            why=ending.why,
        )
    )
    if ending.value is not None:
        journal.add(ending.value)
    if ending.jobs:
        enqueue_all(tx, [(journal, request) for request in ending.jobs])
    if worker.ticks_since_checkpoint >= ending.checkpoint_every:
        keep_periodic(tx, journal, ending.worker, ending.tick, worker.state)
        worker.ticks_since_checkpoint = 0
    if len(worker.state) > _STATE_REMEMBERED:
        tx.kept(_WORKERS).pop(ending.worker, None)
    tx.later(
        _PROGRESS,
        ending.outcome,
        to_us(journal.origin.at),
        ending.state,
        worker.ticks_since_checkpoint,
        worker.last_call,
        worker.repeats,
        ending.worker,
    )


def _record_outputs(tx: Transaction, journal: Journal, ending: Ending) -> None:
    if ending.rejection is not None:
        journal.add(ending.rejection)
    if ending.published:
        remember_outputs(
            tx,
            ending.worker,
            ending.published,
            at=journal.origin.at,
            rows_max=ending.remembered_max,
        )


def checkpoint_now(
    tx: Transaction, *, worker: str, session: Session, label: str, origin: Origin
) -> None:
    """Keep the worker's state as it stands."""
    row = tx.row("workers.by_name", _Worker, name=worker)
    if row is None or row.last_tick == 0:
        return
    with Journal(tx, session.id, origin) as journal:
        keep_checkpoint(
            tx, journal, worker=worker, tick=row.last_tick, state=row.state, label=label
        )
    tx.run("workers.checkpointed", name=worker)


def register_worker(tx: Transaction, name: str, life: str) -> None:
    """Make the worker's row, or give it a new life."""
    assert name != SYSTEM, "the config refuses the system's name"
    tx.run("workers.register", name=name, life=life)
