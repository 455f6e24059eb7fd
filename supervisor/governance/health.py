"""Whether all is well: one answer from a status."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from supervisor.governance.breaker import BreakerState
from supervisor.governance.session import DAEMON_STOPPED, SessionStatus
from supervisor.governance.status import Status

_SYSTEM_SCOPE = "system"
#: An hour is what a wall clock without a timezone is wrong by, and is soon over.
_AHEAD_MAX_S = 3_660.0
_HOUR_S = 3_600.0
_DAY_S = 86_400.0
_DAYS_MIN = 3


class Health(IntEnum):
    """The exit codes of `supervisor status` (interfaces.md, "Command line")."""

    HEALTHY = 0
    DEGRADED = 1
    KILLED = 2
    NOT_RUNNING = 3


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not well, and what mends it."""

    health: Health
    what: str
    fix: str


def problems(status: Status) -> list[Problem]:
    """Return everything that is not well, the gravest first.

    A kill comes before all, also where no daemon runs: a start would do no work.
    """
    return [*_kills(status), *_life(status), *_troubles(status), *_clock(status)]


def health(status: Status) -> Health:
    """Return the gravest problem's health; its number is the exit code."""
    return next((problem.health for problem in problems(status)), Health.HEALTHY)


def status_json(status: Status) -> dict[str, object]:
    """Return what `GET /status` and `supervisor status --json` answer."""
    found = problems(status)
    verdict = found[0].health if found else Health.HEALTHY
    told = [{"what": problem.what, "fix": problem.fix} for problem in found]
    return {
        "health": verdict.name.lower(),
        "problems": told,
        **msgspec.to_builtins(status),
    }


def _kills(status: Status) -> list[Problem]:
    found = []
    if status.stop_requested is not None:
        said = f": {status.stop_requested}" if status.stop_requested else ""
        found.append(
            Problem(
                health=Health.KILLED,
                what=f"the STOP file is there{said}",
                fix="`supervisor stop --clear` removes it",
            )
        )
    found.extend(
        Problem(
            health=Health.KILLED,
            what=f"kill switch system engaged by {kill.actor} at {kill.since}: {kill.why}",
            fix="`supervisor release --system --why TEXT` clears it",
        )
        for kill in status.kills
        if kill.scope == _SYSTEM_SCOPE
    )
    return found


def _life(status: Status) -> list[Problem]:
    daemon = status.daemon
    if not daemon.is_running:
        what = {
            "never_started": "no daemon has run here yet",
            "dead": f"the daemon died without a word after {daemon.heartbeat_at}",
        }.get(daemon.state, f"the daemon stopped at {daemon.stopped_at}")
        return [Problem(health=Health.NOT_RUNNING, what=what, fix="`supervisor run` starts it")]
    found = [
        Problem(
            health=Health.DEGRADED,
            what=trouble,
            fix="the log of the daemon says more; it goes on by itself where the cause ends",
        )
        for trouble in status.troubles
    ]
    if daemon.state == "degraded":
        fix = "the problems below and `supervisor.jsonl` say why"
        found.append(Problem(health=Health.DEGRADED, what="the daemon is degraded", fix=fix))
    age_s = daemon.heartbeat_age_s
    if age_s is not None and age_s > daemon.heartbeat_max_age_s:
        found.append(
            Problem(
                health=Health.DEGRADED,
                what=f"the last heartbeat is {age_s:.0f} s old, "
                f"{daemon.heartbeat_max_age_s:g} s at most are well",
                fix=f"look into supervisor.jsonl; `kill -ABRT {daemon.pid}` lets the service"
                " manager restart it",
            )
        )
    return found


def _troubles(status: Status) -> list[Problem]:
    failed = [
        Problem(
            health=Health.DEGRADED,
            what=f"worker {worker.name} has failed: {worker.why}",
            fix="mend its cause, then restart the daemon or send it SIGHUP",
        )
        for worker in status.workers
        if worker.is_configured and worker.life == "failed"
    ]
    opened = [
        Problem(
            health=Health.DEGRADED,
            what=f"breaker {breaker.name} is open: {breaker.why}",
            fix=f"it lets one probe through at {breaker.retry_at}; mend its cause, then wait, or"
            f" `supervisor breakers close {breaker.name} --why TEXT`",
        )
        for breaker in status.breakers
        if breaker.state is BreakerState.OPEN
    ]
    return failed + opened + _paused(status)


def _clock(status: Status) -> list[Problem]:
    """Return what a clock that was ahead has left behind."""
    clock, fix = status.clock, 'wait for it, or see "The clock was ahead" in RUNBOOK.md'
    found = []
    if clock.ledger_ahead_s > _AHEAD_MAX_S:
        what = (
            f"the ledger's clock is ahead of the wall clock by {_span(clock.ledger_ahead_s)}:"
            f" until {clock.ledger_at} money counts in that day"
        )
        found.append(Problem(health=Health.DEGRADED, what=what, fix=fix))
    if clock.session_ahead_s > _AHEAD_MAX_S:
        what = (
            f"session {clock.session} begins {_span(clock.session_ahead_s)} from now:"
            " its worker stays in it until its window is over"
        )
        found.append(Problem(health=Health.DEGRADED, what=what, fix=fix))
    return found


def _span(seconds: float) -> str:
    days = seconds / _DAY_S
    return f"{days:.0f} days" if days >= _DAYS_MIN else f"{seconds / _HOUR_S:.1f} h"


def _paused(status: Status) -> list[Problem]:
    """Return the sessions that wait for a person: their workers do nothing until then."""
    configured = {worker.name for worker in status.workers if worker.is_configured}
    return [
        Problem(
            health=Health.DEGRADED,
            what=f"session {session.id} is paused: {session.why}",
            fix=f"`supervisor sessions resume {session.id}` lets worker {session.worker} go on",
        )
        for session in status.sessions
        if session.status == SessionStatus.PAUSED
        and session.why != DAEMON_STOPPED
        and session.worker in configured
    ]
