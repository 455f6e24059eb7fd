"""`supervisor status`."""

from __future__ import annotations

from supervisor.assembly import build_budgets
from supervisor.cli.breakers import TITLES as BREAKER_TITLES
from supervisor.cli.breakers import breaker_row
from supervisor.cli.invocation import Invocation
from supervisor.cli.jobs import progress_row
from supervisor.cli.output import (
    print_error,
    print_json,
    print_table,
    print_wrapped,
    span_text,
)
from supervisor.cli.parser import Parser
from supervisor.cli.spend import account_rows, account_titles
from supervisor.cli.store import read_store, store_exists
from supervisor.clock import SystemClock
from supervisor.config import Loaded
from supervisor.errors import StoreUnavailable
from supervisor.governance.health import Health, health, problems, status_json
from supervisor.governance.status import (
    Status,
    Surroundings,
    read_status,
    status_without_store,
)
from supervisor.lock import running_holder
from supervisor.maintenance.stop_file import read_stop

_UNREADABLE = "the store can't be read: treat as killed; no gate lets anything through"


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.epilog = (
        "Exit 0 healthy, 1 degraded, 2 killed, 3 not running. A kill of the system or a STOP file\n"
        "is 2 also where no daemon runs, and so is a store that can't be read: that counts as\n"
        "engaged (requirement K5)."
    )


def run(invocation: Invocation) -> int:
    """Print how things stand, from the store, whether a daemon runs or not."""
    loaded = invocation.load()
    try:
        status = _read(loaded)
    except StoreUnavailable as error:
        return _tell_unreadable(error, is_json=invocation.is_json)
    if invocation.is_json:
        print_json(status_json(status))
    else:
        _print(status)
    return health(status)


def _read(loaded: Loaded) -> Status:
    now, names = SystemClock().now(), list(loaded.config.worker)
    around = Surroundings(
        holder=running_holder(loaded.state_dir),
        stop_requested=read_stop(loaded.state_dir),
        heartbeat_s=loaded.config.supervisor.heartbeat_s,
    )
    if not store_exists(loaded):
        return status_without_store(now=now, worker_names=names, around=around)
    budgets = build_budgets(loaded)
    return read_store(
        loaded, read_status, now=now, worker_names=names, budgets=budgets, around=around
    )


def _tell_unreadable(error: StoreUnavailable, *, is_json: bool) -> int:
    if is_json:
        problem = {"what": f"{_UNREADABLE}: {error.subject}: {error.what}", "fix": error.fix}
        print_json({"health": Health.KILLED.name.lower(), "problems": [problem]})
    else:
        print(f"supervisor: killed\n  {_UNREADABLE}")
    print_error(error, is_json=is_json)
    return Health.KILLED


def _print(status: Status) -> None:
    print(f"supervisor: {health(status).name.lower().replace('_', ' ')}")
    print_wrapped(f"  {_daemon_line(status)}")
    for problem in problems(status):
        print_wrapped(f"  ! {problem.what}; {problem.fix}")
    _print_workers(status)
    _print_progress(status)
    _print_sessions(status)
    if status.accounts:
        print()
        print_table(account_titles(), account_rows(status.accounts))
    _print_kills(status)
    _print_breakers(status)
    _print_approvals(status)


def _daemon_line(status: Status) -> str:
    daemon = status.daemon
    if not daemon.is_running:
        return f"daemon: {daemon.state.replace('_', ' ')}"
    parts = [f"daemon: {daemon.state}, pid {daemon.pid}"]
    if daemon.host:
        parts.append(f"on {daemon.host}")
    if daemon.started_at:
        parts.append(f"since {daemon.started_at}")
    if daemon.heartbeat_age_s is not None:
        parts.append(f"last heartbeat {span_text(daemon.heartbeat_age_s)} ago")
    if daemon.listen:
        parts.append(f"http://{daemon.listen}")
    return ", ".join(parts)


def _print_workers(status: Status) -> None:
    if not status.workers:
        return
    print()
    rows = [
        (
            worker.name,
            worker.life if worker.is_configured else f"{worker.life}, not in the config",
            str(worker.last_tick),
            worker.last_outcome or "-",
            worker.last_progress_at or "-",
            worker.session_id or "-",
        )
        for worker in status.workers
    ]
    print_table(("WORKER", "LIFE", "TICK>", "OUTCOME", "LAST PROGRESS", "SESSION"), rows)
    for worker in status.workers:
        if worker.last_why and worker.is_configured:
            print_wrapped(f"  {worker.name}: {worker.last_outcome}: {worker.last_why}")


def _print_progress(status: Status) -> None:
    if not status.progress:
        return
    print()
    rows = [progress_row(one) for one in status.progress]
    print_table(("WORK", "LOOP", "DONE>", "TO GO>", "ITEM"), rows)


def _print_sessions(status: Status) -> None:
    if not status.sessions:
        return
    print()
    rows = [
        (
            session.id,
            session.status + (f": {session.why}" if session.why else ""),
            session.window_end,
            _number(session.actions),
            "?" if session.cost_usd is None else f"{session.cost_usd:.6f}",
        )
        for session in status.sessions
    ]
    print_table(("OPEN SESSION", "STATUS", "UNTIL", "ACTIONS>", "COST USD>"), rows)


def _number(number: int | None) -> str:
    return "?" if number is None else str(number)


def _print_kills(status: Status) -> None:
    if not status.kills:
        return
    print()
    rows = [(kill.scope, kill.since, kill.actor, kill.why) for kill in status.kills]
    print_table(("KILLED", "SINCE", "BY", "WHY"), rows)


def _print_breakers(status: Status) -> None:
    if not status.breakers:
        return
    print()
    print_table(BREAKER_TITLES, [breaker_row(one) for one in status.breakers])


def _print_approvals(status: Status) -> None:
    waiting = status.approvals
    if not waiting.pending:
        return
    age, deadline = span_text(waiting.oldest_age_s), waiting.next_deadline_at
    print()
    print_wrapped(
        f"approvals: {waiting.pending} waiting for a person, the oldest for {age}, the first until"
        f" {deadline}; `supervisor approvals` lists them"
    )
