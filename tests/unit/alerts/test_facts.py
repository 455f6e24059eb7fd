"""Which events wake somebody, and what they are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import supervisor.storage
from supervisor.alerts.facts import WATCHED, Fact, Over, Severity, read_event
from supervisor.events import (
    approval_kinds,
    effect_kinds,
    hands_kinds,
    job_kinds,
    kinds,
    upkeep_kinds,
)
from supervisor.events.event import Event

FACTS: list[Event] = [
    kinds.WorkerFailed(worker="a", crashes=11, window_s=3600, error="KeyError: 'x'"),
    kinds.CycleRecovered(worker="a", tick=7, boot_id="b-1"),
    upkeep_kinds.DaemonDied(boot_id="b-2", seen_at=0),
    kinds.LoopBlocked(lag_s=3.2, worker="a", where="agent.py:7"),
    kinds.MemoryExceeded(resident_mb=900, limit_mb=768),
    kinds.BudgetWarning(account="system/day", unit="micro_usd", used=800_000, limit_amount=10**6),
    kinds.BudgetExhausted(account="system/day", unit="micro_usd", used=10**6, limit_amount=10**6),
    kinds.TokenBudgetExhausted(account="model:m/day", used=5, limit_amount=5),
    kinds.AccountOverrun(account="system/day", overrun=5, why="the provider took more"),
    kinds.BreakerOpened(name="provider:p", why="5 failures", retry_at=0),
    kinds.KillSwitchEngaged(scope="worker:a", why="it writes nonsense"),
    approval_kinds.ApprovalTimedOut(ticket="t-1", proposal="p-1", deadline_at=0),
    approval_kinds.SessionRiskEscalated(before="medium", after="high", points=11),
    upkeep_kinds.DrillFailed(drill="kill", id="d-1", why="it took 3 s"),
    job_kinds.JobDeadLettered(job="j-1", queue="q", token=1, attempt=5, error="KeyError"),
    effect_kinds.EffectUnknown(scope="w", key="mail-7", why="the daemon died"),
    upkeep_kinds.SessionStuck(worker="a", tick=7, idle_s=900.0, stuck_after_s=900.0),
    hands_kinds.GuardrailOutput(
        worker="a",
        tick=7,
        check="duplicates",
        why="47 of 47",
        outputs=47,
        drafts="reports/drafts/a",
    ),
]
ENDS: list[tuple[Event, Event]] = [
    (
        kinds.BreakerOpened(name="provider:p", why="", retry_at=0),
        kinds.BreakerClosed(name="provider:p"),
    ),
    (
        kinds.KillSwitchEngaged(scope="worker:a", why=""),
        kinds.KillSwitchReleased(scope="worker:a", why=""),
    ),
    (
        upkeep_kinds.DrillFailed(drill="kill", id="d-1", why=""),
        upkeep_kinds.DrillPassed(drill="kill", id="d-2", measured_s=0.1, what=""),
    ),
]


@pytest.mark.parametrize("event", FACTS, ids=lambda event: event.kind)
def test_an_alert_says_what_broke_what_was_done_and_what_to_do(event: Event) -> None:
    fact = read_event(event)
    assert isinstance(fact, Fact)
    assert fact.title
    assert fact.what
    assert fact.done
    assert "`supervisor " in fact.command or "anyio.to_thread" in fact.command


@pytest.mark.parametrize(("began", "ended"), ENDS, ids=lambda event: event.kind)
def test_what_ends_it_names_the_same_fact(began: Event, ended: Event) -> None:
    fact, over = read_event(began), read_event(ended)
    assert isinstance(fact, Fact)
    assert isinstance(over, Over)
    assert fact.key == over.key


def test_every_kind_that_is_watched_is_in_these_tests() -> None:
    assert {event.kind for pair in ENDS for event in pair} | {e.kind for e in FACTS} == WATCHED


def test_the_statement_that_looks_for_facts_names_the_same_kinds() -> None:
    folder = Path(supervisor.storage.__file__).parent
    text = (folder / "sql" / "alerts.sql").read_text()
    statement = text.partition("-- name: matching")[2].partition("-- name:")[0]
    assert set(re.findall(r"'(\w+)'", statement)) == WATCHED


def test_what_is_routine_wakes_nobody() -> None:
    assert read_event(kinds.CycleStarted(worker="a", tick=1)) is None
    routine = approval_kinds.SessionRiskEscalated(before="low", after="medium", points=5)
    assert read_event(routine) is None


def test_the_kill_of_a_drill_wakes_nobody_and_a_persons_of_the_canary_does() -> None:
    canary = "worker:canary"
    assert read_event(kinds.KillSwitchEngaged(scope=canary, why="drill d-1")) is None
    assert isinstance(read_event(kinds.KillSwitchEngaged(scope=canary, why="enough")), Fact)
    worker = kinds.KillSwitchEngaged(scope="worker:a", why="drill d-1")
    assert isinstance(read_event(worker), Fact)


def test_a_release_in_an_alert_names_its_own_scope() -> None:
    system, worker = (
        read_event(kinds.KillSwitchEngaged(scope=scope, why="")) for scope in ("system", "worker:a")
    )
    assert isinstance(system, Fact)
    assert isinstance(worker, Fact)
    assert "release --system --why" in system.command
    assert "release --worker a --why" in worker.command


def test_severities_are_ordered() -> None:
    assert Severity.CRITICAL.reaches(Severity.WARNING)
    assert not Severity.INFO.reaches(Severity.WARNING)
