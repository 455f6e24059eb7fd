"""What the daemon, its workers and its money look like now: for `GET /status` and the CLI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from supervisor.clock import from_us, iso
from supervisor.events.counters import Counters
from supervisor.governance.backlog import Backlog, read_backlog
from supervisor.governance.breaker import Breaker, BreakerState, all_breakers
from supervisor.governance.kill_switch import engaged
from supervisor.governance.session import Session, SessionWithTotals
from supervisor.governance.spending import AccountStatus, read_accounts
from supervisor.governance.work_progress import ProgressStatus, read_progress
from supervisor.ledger.accounts import Budgets
from supervisor.ledger.limits import ledger_now
from supervisor.lock import Holder
from supervisor.money import to_usd
from supervisor.storage.database import Transaction

#: A worker's life in the store is that of its last daemon; without one, these are over.
_LIVES_THAT_END = frozenset({"running", "restarting"})
_STATES_THAT_END = frozenset({"stopped", "never_started"})


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What the store can't know: who holds the state directory, and what its STOP file says.

    `holder` is None where no daemon runs, `stop_requested` where there is no STOP file.
    `troubles` are sentences that only the running daemon itself can say.
    """

    holder: Holder | None
    stop_requested: str | None
    heartbeat_s: float
    troubles: tuple[str, ...] = ()


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon that runs, or the last one that did; moments as ISO in UTC."""

    is_running: bool
    state: str
    boot_id: str = ""
    pid: int = 0
    host: str = ""
    listen: str = ""
    started_at: str | None = None
    heartbeat_at: str | None = None
    heartbeat_age_s: float | None = None
    heartbeat_max_age_s: float
    stopped_at: str | None = None


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A worker of the config, or one that the store remembers.

    `why` is why it lives as it does, `last_why` why its last tick ended as it did.
    """

    name: str
    is_configured: bool
    life: str
    why: str = ""
    last_tick: int = 0
    last_outcome: str = ""
    last_why: str = ""
    last_progress_at: str | None = None
    session_id: str | None = None


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A session with its totals so far; they are None where its row is damaged."""

    id: str
    worker: str
    status: str
    why: str
    window_start: str
    window_end: str
    ticks: Mapping[str, int] | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    actions: int | None = None


class KillStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A kill that is latched."""

    scope: str
    actor: str
    why: str
    since: str


class BreakerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that has opened, or counted a failure, once.

    `cause` is what opened it, `openings` how often on end, `failures` those in a row, and `probe`
    the tick or the hold that probes it now.
    """

    name: str
    state: BreakerState
    cause: str
    why: str
    changed_at: str
    retry_at: str | None
    openings: int
    failures: int
    probe: str


class ClockStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far the store is ahead of the wall clock: because that was set back, or was wrong.

    `ledger_ahead_s` is 0 where it is not. `session_ahead_s` is how far away the open session is
    that begins last, and `session` its id, empty where none begins in the future.
    """

    ledger_ahead_s: float = 0.0
    ledger_at: str = ""
    session_ahead_s: float = 0.0
    session: str = ""


class ApprovalsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How many tickets wait for a person, and since when."""

    pending: int = 0
    oldest_age_s: float = 0.0
    next_deadline_at: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment; the keys of `GET /status` and `supervisor status --json`."""

    at: str
    daemon: DaemonStatus
    stop_requested: str | None
    workers: tuple[WorkerStatus, ...]
    sessions: tuple[SessionSummary, ...]
    accounts: tuple[AccountStatus, ...]
    kills: tuple[KillStatus, ...] = ()
    breakers: tuple[BreakerStatus, ...] = ()
    approvals: ApprovalsStatus = ApprovalsStatus()
    progress: tuple[ProgressStatus, ...] = ()
    clock: ClockStatus = ClockStatus()
    troubles: tuple[str, ...] = ()


class _DaemonRow(msgspec.Struct, frozen=True):
    boot_id: str
    pid: int
    host: str
    started_at: int
    heartbeat_at: int
    stopped_at: int | None
    state: str


class _Name(msgspec.Struct, frozen=True):
    name: str


class _WorkerRow(msgspec.Struct, frozen=True):
    name: str
    life: str
    why: str
    session_id: str | None
    last_tick: int
    last_outcome: str
    last_progress_at: int | None
    last_why: str


def read_status(
    tx: Transaction,
    *,
    now: datetime,
    worker_names: Sequence[str],
    budgets: Budgets,
    around: Surroundings,
) -> Status:
    """Read everything in one transaction; `worker_names` are those of the config."""
    is_running = around.holder is not None
    daemon = _daemon_row(tx, around.holder)
    workers = tx.rows("workers.all", _WorkerRow)
    sessions = tx.rows("sessions.open_ones", SessionWithTotals)
    return Status(
        at=iso(now),
        daemon=_daemon(daemon, now, around),
        stop_requested=around.stop_requested,
        workers=_workers(workers, worker_names, is_running=is_running),
        sessions=tuple(summary_of_session(session) for session in sessions),
        accounts=tuple(read_accounts(tx, now, budgets)),
        kills=tuple(
            KillStatus(
                scope=latch.scope, actor=latch.actor, why=latch.why, since=iso(from_us(latch.at))
            )
            for latch in engaged(tx)
        ),
        breakers=tuple(breaker_status(breaker) for breaker in all_breakers(tx)),
        approvals=_approvals(read_backlog(tx), now),
        progress=read_progress(tx, now, dead=daemon.boot_id if daemon and not is_running else ""),
        clock=_clock(tx, sessions, now),
        troubles=around.troubles,
    )


def _clock(tx: Transaction, sessions: Sequence[Session], now: datetime) -> ClockStatus:
    ledger_at = ledger_now(tx, now)
    latest = max(sessions, key=lambda session: session.window_start, default=None)
    ahead_s = 0.0
    if latest is not None:
        ahead_s = max((from_us(latest.window_start) - now).total_seconds(), 0.0)
    return ClockStatus(
        ledger_ahead_s=round(max((ledger_at - now).total_seconds(), 0.0), 3),
        ledger_at=iso(ledger_at),
        session_ahead_s=round(ahead_s, 3),
        session=latest.id if latest is not None and ahead_s else "",
    )


def status_without_store(
    *, now: datetime, worker_names: Sequence[str], around: Surroundings
) -> Status:
    """Return the status where nothing has been stored yet."""
    return Status(
        at=iso(now),
        daemon=_daemon(None, now, around),
        stop_requested=around.stop_requested,
        workers=_workers([], worker_names, is_running=around.holder is not None),
        sessions=(),
        accounts=(),
    )


def known_workers(tx: Transaction) -> set[str]:
    """Return the workers that the store has heard of, those that are only killed among them."""
    scopes = [latch.scope.partition(":") for latch in engaged(tx)]
    killed = {name for kind, _, name in scopes if kind == "worker"}
    return killed | {row.name for row in tx.rows("workers.all", _Name)}


def _daemon_row(tx: Transaction, holder: Holder | None) -> _DaemonRow | None:
    if holder is None or not holder.boot_id:
        return tx.row("daemons.latest", _DaemonRow)
    # Not the latest: a clock that was ahead once must not hide the daemon that runs.
    return tx.row("daemons.by_boot", _DaemonRow, boot_id=holder.boot_id)


def _daemon(row: _DaemonRow | None, now: datetime, around: Surroundings) -> DaemonStatus:
    holder, max_age_s = around.holder, 3 * around.heartbeat_s
    if holder is not None and row is None:
        # It has the lock, and has not written down its life yet.
        return DaemonStatus(
            is_running=True,
            state="starting",
            boot_id=holder.boot_id,
            pid=holder.pid,
            listen=holder.listen,
            started_at=holder.started_at or None,
            heartbeat_max_age_s=max_age_s,
        )
    if row is None:
        return DaemonStatus(is_running=False, state="never_started", heartbeat_max_age_s=max_age_s)
    is_dead = holder is None and row.state not in _STATES_THAT_END
    beat_at = from_us(row.heartbeat_at)
    return DaemonStatus(
        is_running=holder is not None,
        state="dead" if is_dead else row.state,
        boot_id=row.boot_id,
        pid=(holder.pid if holder else 0) or row.pid,
        host=row.host,
        listen=holder.listen if holder else "",
        started_at=iso(from_us(row.started_at)),
        heartbeat_at=iso(beat_at),
        heartbeat_age_s=round((now - beat_at).total_seconds(), 3),
        heartbeat_max_age_s=max_age_s,
        stopped_at=moment_text(row.stopped_at),
    )


def _workers(
    rows: Sequence[_WorkerRow], configured: Sequence[str], *, is_running: bool
) -> tuple[WorkerStatus, ...]:
    known = {row.name: row for row in rows}
    names = [*configured, *sorted(known.keys() - set(configured))]
    return tuple(
        _worker(name, known.get(name), is_configured=name in configured, is_running=is_running)
        for name in names
    )


def _worker(
    name: str, row: _WorkerRow | None, *, is_configured: bool, is_running: bool
) -> WorkerStatus:
    if row is None:
        return WorkerStatus(name=name, is_configured=is_configured, life="not_started")
    is_over = row.life in _LIVES_THAT_END and not (is_running and is_configured)
    return WorkerStatus(
        name=name,
        is_configured=is_configured,
        life="stopped" if is_over else row.life,
        why=row.why,
        last_tick=row.last_tick,
        last_outcome=row.last_outcome,
        last_why=row.last_why,
        last_progress_at=moment_text(row.last_progress_at),
        session_id=row.session_id,
    )


def summary_of_session(session: SessionWithTotals) -> SessionSummary:
    """Return a session with its totals so far."""
    summary = SessionSummary(
        id=session.id,
        worker=session.worker,
        status=session.status,
        why=session.why,
        window_start=iso(from_us(session.window_start)),
        window_end=iso(from_us(session.window_end)),
    )
    try:
        counters = msgspec.json.decode(session.counters, type=Counters)
    except msgspec.DecodeError:
        return summary  # `supervisor audit` says what is wrong with it
    return msgspec.structs.replace(
        summary,
        ticks=counters.ticks,
        cost_usd=to_usd(counters.cost),
        tokens=counters.tokens,
        actions=counters.actions,
    )


def breaker_status(breaker: Breaker) -> BreakerStatus:
    """Return a breaker in words; `retry_at` is that of an open one."""
    is_open = breaker.state is BreakerState.OPEN
    return BreakerStatus(
        name=breaker.name,
        state=breaker.state,
        cause=breaker.cause,
        why=breaker.why,
        changed_at=iso(from_us(breaker.changed_at)) if breaker.changed_at else "-",
        retry_at=moment_text(breaker.retry_at) if is_open else None,
        openings=breaker.openings,
        failures=breaker.failures,
        probe=breaker.probe,
    )


def _approvals(backlog: Backlog, now: datetime) -> ApprovalsStatus:
    return ApprovalsStatus(
        pending=backlog.pending,
        oldest_age_s=round(backlog.oldest_age_s(now), 3),
        next_deadline_at=moment_text(backlog.next_deadline_at),
    )


def moment_text(at: int | None) -> str | None:
    """Return a stored moment as ISO in UTC, None where there is none."""
    return None if at is None else iso(from_us(at))
