"""Which committed events are worth waking someone for, and in what words (pure).

An alert says what broke, what was done about it, and the one command to run.
"""

from __future__ import annotations

from enum import StrEnum
from functools import singledispatch

import msgspec

from supervisor.clock import from_us, iso
from supervisor.events import (
    approval_kinds,
    effect_kinds,
    hands_kinds,
    job_kinds,
    kinds,
    upkeep_kinds,
)
from supervisor.events.event import Event
from supervisor.governance.drills import CANARY_SCOPE, KILL_WHY
from supervisor.money import usd_text

#: How the keys of facts begin whose end is looked up (recovered.py).
DEAD_LETTERS = "dead_letters:"
EFFECT_UNKNOWN = "effect_unknown:"


class Severity(StrEnum):
    """How bad it is; `critical` is worth waking someone for."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Return its place, the gravest highest."""
        return list(Severity).index(self)

    def reaches(self, least: Severity) -> bool:
        """Return whether it is at least as bad as `least`."""
        return self.rank >= least.rank


class Said(StrEnum):
    """How often a fact is told: while it lasts with reminders, or once: a day, or ever."""

    WHILE_IT_LASTS = "while it lasts"
    ONCE_A_DAY = "once a day"
    ONCE = "once"


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody should know; the same `key` is the same fact.

    Where it is of an `account`, it is over when that account's period is.
    """

    key: str
    severity: Severity
    title: str
    what: str
    done: str
    command: str
    said: Said = Said.WHILE_IT_LASTS
    account: str = ""


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that lasted is over."""

    key: str
    why: str


@singledispatch
def read_event(_event: Event) -> Fact | Over | None:
    """Return what an event says to somebody who sleeps, None where it can wait."""
    return None


@read_event.register
def _(event: kinds.WorkerFailed) -> Fact:
    return Fact(
        key=f"worker_failed:{event.worker}",
        severity=Severity.CRITICAL,
        title=f"worker {event.worker} has failed",
        what=f"it crashed {event.crashes} times, last with: {event.error}",
        done="it is left stopped; the other workers go on",
        command="mend its cause, `supervisor check`, then SIGHUP to the daemon",
    )


@read_event.register
def _(event: kinds.CycleRecovered) -> Fact:
    return Fact(
        key=f"recovered:{event.boot_id}",
        severity=Severity.WARNING,
        title="the daemon had died without a word",
        what=f"tick {event.tick} of worker {event.worker} was running in life {event.boot_id}",
        done="its ticks were closed and what they held counts as spent; work goes on",
        command="`supervisor events --kind cycle_recovered`",
        said=Said.ONCE,
    )


@read_event.register
def _(event: upkeep_kinds.DaemonDied) -> Fact:
    return Fact(
        key=f"recovered:{event.boot_id}",
        severity=Severity.WARNING,
        title="the daemon had died without a word",
        what=f"life {event.boot_id} was last seen at {iso(from_us(event.seen_at))}",
        done="what it left open is closed and what it held counts as spent; work goes on",
        command="`supervisor report`; the end of the log and the system's say more",
        said=Said.ONCE,
    )


@read_event.register
def _(event: upkeep_kinds.SessionStuck) -> Fact:
    return Fact(
        key=f"stuck:{event.worker}",
        severity=Severity.WARNING,
        title=f"worker {event.worker} was stuck",
        what=f"tick {event.tick} ran for {event.idle_s:.0f} s without an event in its session",
        done="the tick was cancelled and what it held counts as spent; the worker ticks again",
        command="`supervisor events --kind session_stuck`; find out what it waits for",
        said=Said.ONCE_A_DAY,
    )


@read_event.register
def _(event: kinds.LoopBlocked) -> Fact:
    return Fact(
        key=f"loop_blocked:{event.worker}",
        severity=Severity.WARNING,
        title=f"the event loop was blocked for {event.lag_s:.0f} s",
        what=f"{event.worker or 'something'} held it at {event.where or 'a place not seen'}",
        done="every other worker waited meanwhile; past the limit the daemon restarts",
        command="move the blocking call off the loop (anyio.to_thread)",
        said=Said.ONCE_A_DAY,
    )


@read_event.register
def _(event: kinds.MemoryExceeded) -> Fact:
    return Fact(
        key="memory_exceeded",
        severity=Severity.WARNING,
        title="the daemon used too much memory",
        what=f"{event.resident_mb} MB are resident, {event.limit_mb} MB are allowed",
        done="it drains and asks its service manager for a restart",
        command="`supervisor status`; raise [supervisor] rss_max_mb if that is its size",
        said=Said.ONCE_A_DAY,
    )


@read_event.register
def _(event: kinds.BudgetWarning) -> Fact:
    used, limit = _amount(event.used, event.unit), _amount(event.limit_amount, event.unit)
    return Fact(
        key=f"budget_warning:{event.account}",
        severity=Severity.WARNING,
        title=f"{event.account} is nearly used up",
        what=f"{used} of {limit} are spent or held",
        done="work goes on until it is used up",
        command="`supervisor spend`",
        said=Said.ONCE,
    )


@read_event.register
def _(event: kinds.BudgetExhausted) -> Fact:
    return _exhausted(event.account, event.used, event.limit_amount, event.unit)


@read_event.register
def _(event: kinds.TokenBudgetExhausted) -> Fact:
    return _exhausted(event.account, event.used, event.limit_amount, "tokens")


def _exhausted(account: str, used: int, limit: int, unit: str) -> Fact:
    return Fact(
        key=f"budget_exhausted:{account}",
        severity=Severity.CRITICAL,
        title=f"{account} is used up",
        what=f"{_amount(used, unit)} of {_amount(limit, unit)} are spent or held",
        done="calls that need it are refused until its period ends",
        command="`supervisor spend`; raise the limit in the config, then SIGHUP",
        account=account,
    )


def _amount(amount: int, unit: str) -> str:
    return usd_text(amount) if unit == "micro_usd" else f"{amount} {unit}"


@read_event.register
def _(event: kinds.AccountOverrun) -> Fact:
    return Fact(
        key=f"account_overrun:{event.account}:{event.overrun}",
        severity=Severity.CRITICAL,
        title=f"{event.account} stands above its limit",
        what=f"by {event.overrun} (micro-USD, tokens or actions): {event.why}",
        done="it is recorded in full, and nothing more is spent of it",
        command="`supervisor spend`, then the provider's own bill",
        said=Said.ONCE,
    )


@read_event.register
def _(event: kinds.BreakerOpened) -> Fact:
    return Fact(
        key=f"breaker:{event.name}",
        severity=Severity.CRITICAL,
        title=f"breaker {event.name} is open",
        what=event.why,
        done="no call that it guards is made, but one probe from time to time",
        command=f"mend its cause, then `supervisor breakers close {event.name} --why TEXT`",
    )


@read_event.register
def _(event: kinds.BreakerClosed) -> Over:
    return Over(key=f"breaker:{event.name}", why="it closed")


@read_event.register
def _(event: kinds.KillSwitchEngaged) -> Fact | None:
    if event.scope == CANARY_SCOPE and event.why.startswith(KILL_WHY):
        return None  # by a drill, which releases it within seconds, and says itself if it fails
    kind, _, name = event.scope.partition(":")
    words = f"--{kind} {name}".strip()
    return Fact(
        key=f"kill:{event.scope}",
        severity=Severity.CRITICAL,
        title=f"kill switch {event.scope} is engaged",
        what=event.why or "no reason was given",
        done="nothing that it reaches does any work, also after a restart",
        command=f"`supervisor release {words} --why TEXT` lets it go on",
    )


@read_event.register
def _(event: kinds.KillSwitchReleased) -> Over:
    return Over(key=f"kill:{event.scope}", why="it was released")


@read_event.register
def _(event: approval_kinds.ApprovalTimedOut) -> Fact:
    return Fact(
        key=f"ticket_expired:{event.ticket}",
        severity=Severity.WARNING,
        title="nobody decided a ticket in time",
        what=f"ticket {event.ticket}, proposal {event.proposal}",
        done="it is denied; the agent was told",
        command=f"`supervisor approvals show {event.ticket}`",
        said=Said.ONCE,
    )


@read_event.register
def _(event: approval_kinds.SessionRiskEscalated) -> Fact | None:
    if event.after != "high":
        return None
    return Fact(
        key="session_risk",
        severity=Severity.WARNING,
        title="a session's risk is high",
        what=f"its actions add up to {event.points} points",
        done="what follows in it is judged by that: more is asked, or denied",
        command="`supervisor events --kind session_risk_escalated`",
        said=Said.ONCE_A_DAY,
    )


@read_event.register
def _(event: upkeep_kinds.DrillFailed) -> Fact:
    return Fact(
        key=f"drill:{event.drill}",
        severity=Severity.CRITICAL,
        title=f"drill {event.drill} has failed",
        what=event.why,
        done="nothing: the safety that it rehearses may not hold",
        command=f"mend its cause, then `supervisor drill {event.drill}`",
    )


@read_event.register
def _(event: upkeep_kinds.DrillPassed) -> Over:
    return Over(key=f"drill:{event.drill}", why="it has passed since")


@read_event.register
def _(event: hands_kinds.GuardrailOutput) -> Fact:
    where = f"; the drafts lie in {event.drafts}" if event.drafts else ""
    return Fact(
        key=f"output_rejected:{event.worker}",
        severity=Severity.CRITICAL,
        title=f"what worker {event.worker} made did not pass the check {event.check}",
        what=event.why,
        done=f"tick {event.tick} has failed and nothing of it was published{where}",
        command=f"`supervisor events --kind guardrail_output --worker {event.worker}`",
        said=Said.ONCE_A_DAY,
    )


@read_event.register
def _(event: job_kinds.JobDeadLettered) -> Fact:
    return Fact(
        key=f"{DEAD_LETTERS}{event.queue}",
        severity=Severity.CRITICAL,
        title=f"jobs of queue {event.queue} are dead",
        what=f"the first is {event.job}, after {event.attempt} attempts: {event.error}",
        done="they are kept with their history; the queue goes on",
        command="`supervisor dead list`, then `dead requeue ID` or `dead discard ID`",
    )


@read_event.register
def _(event: effect_kinds.EffectUnknown) -> Fact:
    return Fact(
        key=f"{EFFECT_UNKNOWN}{event.scope}/{event.key}",
        severity=Severity.CRITICAL,
        title=f"nobody knows whether {event.key} was done",
        what=f"it was begun in {event.scope}: {event.why}",
        done="it is not repeated; what needs it waits",
        command=f"look there, then `supervisor jobs resolve {event.scope}/{event.key}`",
    )


#: The kinds that `read_event` has something to say about, as `alerts.matching` names them.
WATCHED = frozenset(kind.kind for kind in read_event.registry if issubclass(kind, Event))
