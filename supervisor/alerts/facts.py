"""Which committed events are worth waking someone for, and in what words (pure).

An alert says what broke, what was done about it, and the one command to run.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

import msgspec

from supervisor.events import approval_kinds, kinds, upkeep_kinds
from supervisor.events.event import Event
from supervisor.money import usd_text

_RUNBOOK = "see RUNBOOK.md"


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


def read_event(event: Event) -> Fact | Over | None:
    """Return what an event says to somebody who sleeps, None where it can wait."""
    return _of_life(event) or _of_money(event) or _of_governance(event)


def _of_life(event: Event) -> Fact | Over | None:
    match event:
        case kinds.WorkerFailed(worker=worker, crashes=crashes, error=error):
            return Fact(
                key=f"worker_failed:{worker}",
                severity=Severity.CRITICAL,
                title=f"worker {worker} has failed",
                what=f"it crashed {crashes} times, last with: {error}",
                done="it is left stopped; the other workers go on",
                command="mend its cause, then `supervisor check` and SIGHUP to the daemon",
            )
        case kinds.CycleRecovered(worker=worker, tick=tick, boot_id=boot_id):
            return Fact(
                key=f"recovered:{boot_id}",
                severity=Severity.WARNING,
                title="the daemon had died without a word",
                what=f"tick {tick} of worker {worker} was running in life {boot_id}",
                done="its ticks were closed and what they held counts as spent; work goes on",
                command=f"`supervisor events --kind cycle_recovered`; {_RUNBOOK}",
                said=Said.ONCE,
            )
        case kinds.LoopBlocked(lag_s=lag_s, worker=worker, where=where):
            return Fact(
                key=f"loop_blocked:{worker}",
                severity=Severity.WARNING,
                title=f"the event loop was blocked for {lag_s:.0f} s",
                what=f"{worker or 'something'} held it at {where or 'a place not seen'}",
                done="every other worker waited meanwhile; past the limit the daemon restarts",
                command="move the blocking call off the loop (anyio.to_thread)",
                said=Said.ONCE_A_DAY,
            )
        case kinds.MemoryExceeded(resident_mb=resident_mb, limit_mb=limit_mb):
            return Fact(
                key="memory_exceeded",
                severity=Severity.WARNING,
                title="the daemon used too much memory",
                what=f"{resident_mb} MB are resident, {limit_mb} MB are allowed",
                done="it drains and asks its service manager for a restart",
                command="`supervisor status`; raise [supervisor] rss_max_mb if that is its size",
                said=Said.ONCE_A_DAY,
            )
    return None


def _of_money(event: Event) -> Fact | Over | None:
    match event:
        case kinds.BudgetWarning(account=account, used=used, limit_amount=limit, unit=unit):
            return Fact(
                key=f"budget_warning:{account}",
                severity=Severity.WARNING,
                title=f"{account} is nearly used up",
                what=f"{_amount(used, unit)} of {_amount(limit, unit)} are spent or held",
                done="work goes on until it is used up",
                command="`supervisor spend`",
                said=Said.ONCE,
            )
        case kinds.BudgetExhausted(account=account, used=used, limit_amount=limit, unit=unit):
            return _exhausted(account, _amount(used, unit), _amount(limit, unit))
        case kinds.TokenBudgetExhausted(account=account, used=used, limit_amount=limit):
            return _exhausted(account, _amount(used, "tokens"), _amount(limit, "tokens"))
        case kinds.AccountOverrun(account=account, overrun=overrun, why=why):
            return Fact(
                key=f"account_overrun:{account}:{overrun}",
                severity=Severity.CRITICAL,
                title=f"{account} stands above its limit",
                what=f"by {overrun} (micro-USD, tokens or actions): {why}",
                done="it is recorded in full, and nothing more is spent of it",
                command="`supervisor spend`, then the provider's own bill",
                said=Said.ONCE,
            )
        case kinds.BreakerOpened(name=name, why=why):
            return Fact(
                key=f"breaker:{name}",
                severity=Severity.CRITICAL,
                title=f"breaker {name} is open",
                what=why,
                done="no call that it guards is made, but one probe from time to time",
                command="`supervisor status` says when; mend its cause",
            )
        case kinds.BreakerClosed(name=name):
            return Over(key=f"breaker:{name}", why="it closed")
    return None


def _exhausted(account: str, used: str, limit: str) -> Fact:
    return Fact(
        key=f"budget_exhausted:{account}",
        severity=Severity.CRITICAL,
        title=f"{account} is used up",
        what=f"{used} of {limit} are spent or held",
        done="calls that need it are refused until its period ends",
        command="`supervisor spend`; raise the limit in the config, then SIGHUP",
        account=account,
    )


def _amount(amount: int, unit: str) -> str:
    return usd_text(amount) if unit == "micro_usd" else f"{amount} {unit}"


def _of_governance(event: Event) -> Fact | Over | None:
    match event:
        case kinds.KillSwitchEngaged(scope=scope, why=why):
            return Fact(
                key=f"kill:{scope}",
                severity=Severity.CRITICAL,
                title=f"kill switch {scope} is engaged",
                what=why or "no reason was given",
                done="nothing that it reaches does any work, also after a restart",
                command=f"`supervisor release {_release_words(scope)} --why TEXT` lets it go on",
            )
        case kinds.KillSwitchReleased(scope=scope):
            return Over(key=f"kill:{scope}", why="it was released")
        case approval_kinds.ApprovalTimedOut(ticket=ticket, proposal=proposal):
            return Fact(
                key=f"ticket_expired:{ticket}",
                severity=Severity.WARNING,
                title="nobody decided a ticket in time",
                what=f"ticket {ticket}, proposal {proposal}",
                done="it is denied; the agent was told",
                command=f"`supervisor approvals show {ticket}`",
                said=Said.ONCE,
            )
        case approval_kinds.SessionRiskEscalated(after=after, points=points):
            if after != "high":
                return None
            return Fact(
                key="session_risk",
                severity=Severity.WARNING,
                title="a session's risk is high",
                what=f"its actions add up to {points} points",
                done="what follows in it is judged by that: more is asked, or denied",
                command="`supervisor events --kind session_risk_escalated`",
                said=Said.ONCE_A_DAY,
            )
        case upkeep_kinds.DrillFailed(drill=drill, why=why):
            return Fact(
                key=f"drill:{drill}",
                severity=Severity.CRITICAL,
                title=f"drill {drill} has failed",
                what=why,
                done="nothing: the safety that it rehearses may not hold",
                command=f"`supervisor drill {drill}` once its cause is mended",
            )
        case upkeep_kinds.DrillPassed(drill=drill):
            return Over(key=f"drill:{drill}", why="it has passed since")
    return None


def _release_words(scope: str) -> str:
    kind, _, name = scope.partition(":")
    return f"--{kind} {name}".strip()


#: The kinds that `read_event` has something to say about, as `alerts.matching` names them.
WATCHED: Collection[str] = frozenset(
    kind.kind
    for kind in (
        kinds.WorkerFailed,
        kinds.CycleRecovered,
        kinds.LoopBlocked,
        kinds.MemoryExceeded,
        kinds.BudgetWarning,
        kinds.BudgetExhausted,
        kinds.TokenBudgetExhausted,
        kinds.AccountOverrun,
        kinds.BreakerOpened,
        kinds.BreakerClosed,
        kinds.KillSwitchEngaged,
        kinds.KillSwitchReleased,
        approval_kinds.ApprovalTimedOut,
        approval_kinds.SessionRiskEscalated,
        upkeep_kinds.DrillFailed,
        upkeep_kinds.DrillPassed,
    )
)
