"""The product's transactions around jobs, called as two daemons on one store call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import to_us
from supervisor.errors import Refusal
from supervisor.events.log import Origin
from supervisor.governance import job_commands
from supervisor.governance.audit import audit
from supervisor.governance.job_commands import JobCommand, JobDecided, ResolveCommand
from supervisor.governance.kill_switch import KillCommand, engage, release
from supervisor.governance.rotation import SessionPlan, system_journal
from supervisor.jobs import effects
from supervisor.jobs.effects import Effect, Taking
from supervisor.jobs.endings import End as Ended
from supervisor.jobs.endings import Held, JobEnd
from supervisor.jobs.job import Enqueued, JobRequest
from supervisor.jobs.leases import claims_of_others, renew
from supervisor.jobs.queue import enqueue
from supervisor.ledger.accounts import Budgets
from supervisor.lifecycle import Life, begin_life
from supervisor.maintenance.job_watch import _take_silent
from supervisor.maintenance.peers import Peers
from supervisor.maintenance.recovery import Findings, recover
from supervisor.outcome import Outcome
from supervisor.storage.database import Database, Transaction
from supervisor.worker.effects import _keep, _lose, _release, _take
from supervisor.worker.queue_records import (
    Claimed,
    FinishedJob,
    Ration,
    TickHolding,
    begin_queue_tick,
    end_some,
    finish_queue_tick,
)
from supervisor.worker.records import Ending, Skipped, TickRequest
from tests.properties.job_model import End
from tests.properties.ledger_world import StillClock, budgets_of
from tests.properties.stores import Answering, Store, finished

SIDES = ("left", "right")
WORKERS = tuple(f"{side}-{number}" for side in SIDES for number in range(2))
LEASE_US = 30_000_000
_LIMITS = {("session", "session", "actions"): 1_000_000}


class JobRow(msgspec.Struct, frozen=True):
    """A job as stored, without what no model knows."""

    id: str
    queue: str
    payload: str
    priority: int
    run_at: int
    attempts_max: int
    state: str
    attempts: int
    token: int | None
    is_cancel_asked: bool
    history: str


class _Count(msgspec.Struct, frozen=True):
    queue: str
    state: str
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """What a worker has in hand, or believes to have."""

    boot_id: str
    claimed: Claimed
    names: TickHolding

    @property
    def token(self) -> int:
        return self.claimed.claim.token


class JobWorld:
    """A store, two daemons with two workers each, and a clock."""

    def __init__(self, store: Store, now: datetime) -> None:
        self.store = store
        self.zone = ZoneInfo("UTC")
        self.clock = StillClock(now)
        self.budgets: Budgets = budgets_of(_LIMITS, self.zone)
        self.hands: dict[str, Hand] = {}
        self.lives: dict[str, Life] = {}
        self._boots = 0
        self._commands = 0
        for side in SIDES:
            self.start(side)

    @property
    def now(self) -> int:
        return to_us(self.clock.at)

    def origin(self, command_id: str = "") -> Origin:
        return Origin(at=self.clock.at, actor="test", command_id=command_id)

    # --- lives

    def start(self, side: str) -> Findings:
        """Begin a life; the one that the side had before is dead."""
        self._boots += 1
        life = Life(boot_id=f"boot-{self._boots}", pid=self._boots, host="here", version="0")
        self.lives[side] = life
        workers = [name for name in WORKERS if name.startswith(side)]
        for worker in workers:
            self.hands.pop(worker, None)
        self.store.write(begin_life, life, workers, self.budgets, self.origin())
        return self.recover(side)

    def recover(self, side: str, *, buries: bool = False) -> Findings:
        """Recover as a side's daemon does; it may take the other one for dead, which lives."""
        living = {life.pid for life in self.lives.values() if not buries}
        peers = Peers(host="here", clock=self.clock, runs=living.__contains__)
        database: Database = Answering(self.store)  # type: ignore[assignment] # only what it uses
        return finished(
            recover(
                database,
                boot_id=self.lives[side].boot_id,
                clock=self.clock,
                timezone=self.zone,
                workers=set(WORKERS),
                peers=peers,
            )
        )

    def beat(self, side: str) -> None:
        """Show that a side lives, also where it was taken for dead."""
        boot_id, now = self.lives[side].boot_id, self.now
        self.store.write(_beat, boot_id, now)

    # --- queues

    def enqueue(self, request: JobRequest) -> Enqueued:
        return self.store.write(_enqueue, request, self.zone, self.origin())

    def claim(self, worker: str, queue: str, jobs_max: int) -> Hand | Skipped | None:
        """Begin a tick of a worker for jobs, which it then has in hand."""
        boot_id = self.lives[worker.partition("-")[0]].boot_id
        request = TickRequest(
            boot_id=boot_id,
            session=SessionPlan(worker=worker, span_s=86_400, timezone=self.zone),
            budgets=self.budgets,
            model="",
            is_free=True,
        )
        ration = Ration(queue=queue, jobs_max=jobs_max, lease_us=LEASE_US)
        begun = self.store.write(begin_queue_tick, request, ration, self.origin())
        if not isinstance(begun, Claimed):
            return begun
        names = TickHolding(
            worker=worker,
            tick=begun.started.tick,
            session_id=begun.started.session.id,
            queue=queue,
            token=begun.claim.token,
            timezone=self.zone,
        )
        hand = self.hands[worker] = Hand(boot_id=boot_id, claimed=begun, names=names)
        return hand

    def end_some(self, hand: Hand, ends: Sequence[End], wanted: Sequence[JobRequest]) -> bool:
        """End jobs of a hand; the last of them wants further jobs."""
        finished_jobs = _finished(ends, wanted)
        return self.store.write(end_some, hand.names, finished_jobs, self.origin())

    def finish(self, hand: Hand, ends: Sequence[End], wanted: Sequence[JobRequest]) -> bool:
        ending = Ending(
            worker=hand.names.worker,
            tick=hand.names.tick,
            session_id=hand.names.session_id,
            outcome=Outcome.OK,
            duration_s=0.5,
            checkpoint_every=5,
        )
        finished_jobs = _finished(ends, wanted)
        origin = self.origin()
        return self.store.write(finish_queue_tick, hand.names, ending, finished_jobs, origin)

    def renew(self, side: str) -> set[int]:
        return set(self.store.write(renew, self.lives[side].boot_id))

    def claims(self) -> list[Held]:
        return self.store.write(claims_of_others, "nobody")

    def take_silent(self, held: Held) -> None:
        """Take a claim away that was silent for as long as its lease, as far as was seen."""
        self.store.write(_take_silent, held, self.origin(), self.zone)

    # --- effects

    def take_effect(self, hand: Hand, job: str, key: str) -> Effect | None:
        taking = Taking(
            scope=f"queue:{hand.names.queue}",
            key=key,
            boot_id=hand.boot_id,
            worker=hand.names.worker,
            tick=hand.names.tick,
            job=job,
        )
        found = self.store.write(_take, taking, hand.names.session_id, self.origin())
        assert not isinstance(found, Refusal), found
        return found

    def end_effect(self, hand: Hand, effect: Effect, how: str) -> None:
        session_id, origin = hand.names.session_id, self.origin()
        match how:
            case "keep":
                self.store.write(_keep, effect, '"done"', session_id, origin)
            case "release":
                self.store.write(_release, effect, session_id, origin)
            case _:
                self.store.write(_lose, effect, session_id, origin)

    def effect(self, scope: str, key: str) -> Effect | None:
        return self.store.write(effects.find_effect, scope, key)

    # --- people

    def decide(self, what: str, job_id: str) -> JobDecided:
        """Give a command, and the same again: it must answer the same, and do nothing."""
        decisions = {
            "requeue": job_commands.requeue,
            "cancel": job_commands.cancel,
            "discard": job_commands.discard,
        }
        command, origin = JobCommand(job=job_id, why="so"), self._command()
        first = self.store.write(decisions[what], command, origin, self.zone)
        assert self.store.write(decisions[what], command, origin, self.zone) == first
        return first

    def resolve(self, job_id: str, *, is_done: bool) -> JobDecided:
        command, origin = ResolveCommand(job=job_id, is_done=is_done, why="so"), self._command()
        first = self.store.write(job_commands.resolve, command, origin, self.zone)
        assert self.store.write(job_commands.resolve, command, origin, self.zone) == first
        return first

    def kill(self, worker: str, *, is_engaged: bool) -> None:
        turn = engage if is_engaged else release
        command = KillCommand(scope=f"worker:{worker}", why="so")
        self.store.write(turn, command, self._command(), self.zone)

    def _command(self) -> Origin:
        self._commands += 1
        return self.origin(f"c-{self._commands}")

    # --- what is there

    def jobs(self) -> dict[str, JobRow]:
        return {row.id: row for row in self.store.write(_jobs)}

    def counts(self) -> tuple[list[_Count], list[_Count]]:
        """Return what is counted of each queue, and what is there."""
        return self.store.write(_counts)

    def prove(self) -> None:
        report = self.store.write(audit)
        assert report.findings == (), [finding.text for finding in report.findings]


def _finished(ends: Sequence[End], wanted: Sequence[JobRequest]) -> list[FinishedJob]:
    made = []
    for place, end in enumerate(ends):
        is_last = place == len(ends) - 1
        how = {"done": Ended.DONE, "unknown": Ended.UNKNOWN, "back": Ended.BACK}.get(end.how)
        if how is None:
            how = Ended.BACK if end.how == "later" else Ended.FAILED
        own = JobEnd(
            id=end.job,
            end=how,
            why="so",
            is_permanent=end.how == "permanent",
            delay_us=None if end.how == "back" else end.delay,
        )
        made.append(FinishedJob(end=own, jobs=tuple(wanted) if is_last else ()))
    return made


def _enqueue(tx: Transaction, request: JobRequest, timezone: ZoneInfo, origin: Origin) -> Enqueued:
    with system_journal(tx, timezone, origin) as journal:
        return enqueue(tx, journal, request)


def _beat(tx: Transaction, boot_id: str, now: int) -> None:
    tx.run("daemons.beat", boot_id=boot_id, now=now, state="running")


def _jobs(tx: Transaction) -> list[JobRow]:
    found = tx.rows("jobs.page", _Named, queue="", state="", rows_max=10_000)
    rows = (tx.row("jobs.by_id", JobRow, id=one.id) for one in found)
    return [row for row in rows if row is not None]


class _Named(msgspec.Struct, frozen=True):
    id: str


def _counts(tx: Transaction) -> tuple[list[_Count], list[_Count]]:
    return tx.rows("jobs.counts", _Count), tx.rows("audit_jobs.real_counts", _Count)
