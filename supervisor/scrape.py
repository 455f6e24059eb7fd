"""What /metrics reads from the store at each scrape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from supervisor.alerts.record import Undelivered, undelivered
from supervisor.clock import from_us, to_us
from supervisor.governance.backlog import Backlog, read_backlog
from supervisor.governance.breaker import Breaker, all_breakers
from supervisor.governance.drills import Drill, last_passes
from supervisor.governance.job_facts import QueueCount, queue_counts
from supervisor.governance.kill_switch import Latch, engaged
from supervisor.governance.session import Session
from supervisor.jobs.progress import Progress, running_progress
from supervisor.ledger.accounts import Budgets
from supervisor.ledger.holds import Account, find_account
from supervisor.ledger.limits import ledger_now
from supervisor.metrics import Metrics
from supervisor.money import to_usd
from supervisor.storage.database import Transaction

_ROWS_MAX = 1_000


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot of the store; `cap` is in micro-USD, `today` None before the first hold."""

    cap: int
    today: Account | None
    latches: Sequence[Latch]
    breakers: Sequence[Breaker]
    sessions: Sequence[Session]
    drills: Mapping[str, int]
    approvals: Backlog
    jobs: Sequence[QueueCount]
    undelivered: Undelivered
    progress: Sequence[Progress]
    now: datetime


def read_gauges(tx: Transaction, budgets: Budgets, now: datetime) -> Gauges:
    """Read the snapshot."""
    cap = budgets.daily_cap(ledger_now(tx, now))
    return Gauges(
        cap=cap.limit_amount,
        today=find_account(tx, cap.id),
        latches=engaged(tx),
        breakers=all_breakers(tx),
        sessions=tx.rows("sessions.open_ones", Session),
        drills=last_passes(tx),
        approvals=read_backlog(tx),
        jobs=queue_counts(tx),
        undelivered=undelivered(tx),
        progress=running_progress(tx, _ROWS_MAX),
        now=now,
    )


def show(metrics: Metrics, gauges: Gauges) -> None:
    """Set the gauges from a snapshot."""
    today = gauges.today
    metrics.cap.set(to_usd(gauges.cap))
    metrics.today.set(to_usd(today.settled) if today else 0)
    metrics.held.set(to_usd(today.held) if today else 0)
    kinds = [latch.scope.partition(":")[0] for latch in gauges.latches]
    for kind in ("system", "worker", "session"):
        metrics.kill_engaged.labels(kind).set(kinds.count(kind))
    metrics.alerts_undelivered.set(gauges.undelivered.count)
    metrics.approvals_pending.set(gauges.approvals.pending)
    metrics.approval_oldest_age.set(gauges.approvals.oldest_age_s(gauges.now))
    metrics.show_jobs((one.queue, one.state, one.jobs) for one in gauges.jobs)
    metrics.forget_progress()
    # The latest of each worker stands first; the others are loops around it.
    for row in {row.worker: row for row in reversed(gauges.progress)}.values():
        metrics.show_progress(row.worker, row.done, row.total, row.eta_s(to_us(gauges.now)))
    for breaker in gauges.breakers:
        metrics.show_breaker(breaker.name, breaker.state)
    for drill in Drill:
        passed_at = gauges.drills.get(drill)
        passed_s = 0.0 if passed_at is None else from_us(passed_at).timestamp()
        metrics.drill_last_pass.labels(drill).set(passed_s)
    metrics.session_started.clear()
    for session in gauges.sessions:
        opened = from_us(session.opened_at).timestamp()
        metrics.session_started.labels(session.worker).set(opened)
