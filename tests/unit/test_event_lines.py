"""Committed events become lines: their level, their place, their money."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec
import pytest

from supervisor.clock import to_us
from supervisor.event_lines import EventLines
from supervisor.events import kinds
from supervisor.events.log import Origin, Recorded
from tests.unit.recorded_log import RecordedLog

NOW = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)
#: What structlog's own call takes, or what its processors write.
TAKEN = {"level", "event", "ts", "exception", "exc_info", "stack_info"}


def recorded_event(event: kinds.Event, *, command_id: str = "") -> Recorded:
    origin = Origin(at=NOW, actor="worker:a", correlation_id="a#7", command_id=command_id)
    return Recorded(session_id="a@2026-06-01T10:00Z", seq=4, origin=origin, event=event)


def ended(outcome: str) -> kinds.CycleCompleted:
    return kinds.CycleCompleted(worker="a", tick=7, outcome=outcome, duration_s=0.5, code="x")


def levels(recorded: RecordedLog, event: kinds.Event) -> list[object]:
    recorded.clear()
    EventLines(recorded.log)([recorded_event(event)])
    return [line["log_level"] for line in recorded.lines(event.kind)]


def test_a_line_says_where_its_event_stands(recorded: RecordedLog) -> None:
    EventLines(recorded.log)([recorded_event(ended("ok"), command_id="c-1")])
    (line,) = recorded.lines("cycle_completed")
    assert line["worker"] == "a"
    assert line["session_id"] == "a@2026-06-01T10:00Z"
    assert (line["event_seq"], line["tick"], line["outcome"]) == (4, 7, "ok")
    assert (line["correlation_id"], line["command_id"]) == ("a#7", "c-1")


def test_money_is_written_in_usd(recorded: RecordedLog) -> None:
    event = kinds.HoldForfeited(
        hold="a#7.1", model="p/m", cost=250_000, tokens=9, actions=1, why="unknown"
    )
    EventLines(recorded.log)([recorded_event(event)])
    (line,) = recorded.lines("hold_forfeited")
    assert line["cost_usd"] == 0.25
    assert "cost" not in line


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            kinds.BudgetWarning(account="x", unit="micro_usd", used=900_000, limit_amount=10**6),
            {"used_usd": 0.9, "limit_amount_usd": 1.0},
        ),
        (
            kinds.BudgetWarning(account="x", unit="actions", used=9, limit_amount=10),
            {"used": 9, "limit_amount": 10},
        ),
        (
            kinds.AccountOpened(account="system/day/2026/micro_usd", limit_amount=1, settled=10**6),
            {"limit_amount_usd": 1e-6, "settled_usd": 1.0},
        ),
        (
            kinds.AccountOverrun(account="system/day/2026/tokens", overrun=7, why="x"),
            {"overrun": 7},
        ),
        (
            kinds.AccountLimitChanged(account="a/micro_usd", before=10**6, limit_amount=0),
            {"before_usd": 1.0, "limit_amount_usd": 0.0},
        ),
        (
            kinds.HoldReconciled(hold="h", cost_before=10**6, cost=0),
            {"cost_before_usd": 1.0, "cost_usd": 0.0},
        ),
    ],
)
def test_an_amount_is_in_usd_where_its_account_counts_money(
    recorded: RecordedLog, event: kinds.Event, told: dict[str, object]
) -> None:
    EventLines(recorded.log)([recorded_event(event)])
    (line,) = recorded.lines(event.kind)
    names = {"used", "limit_amount", "settled", "overrun", "before", "cost", "cost_before"}
    assert {key: line[key] for key in line if key.removesuffix("_usd") in names} == told


def test_a_moment_is_written_as_one(recorded: RecordedLog) -> None:
    opened = kinds.BreakerOpened(name="worker:a", why="x", retry_at=to_us(NOW))
    EventLines(recorded.log)([recorded_event(opened)])
    (line,) = recorded.lines("breaker_opened")
    assert line["retry_at"] == "2026-06-01T10:30:00Z"


def test_each_event_of_a_commit_is_a_line_in_their_order(recorded: RecordedLog) -> None:
    first, second = ended("ok"), kinds.SessionClosed(worker="a")
    EventLines(recorded.log)([recorded_event(first), "no event", recorded_event(second)])
    assert recorded.events == ["cycle_completed", "session_closed"]


@pytest.mark.parametrize("outcome", ["failed", "timed_out", "refused", "cancelled", "unknown"])
def test_a_tick_that_ended_badly_is_a_warning(recorded: RecordedLog, outcome: str) -> None:
    assert levels(recorded, ended(outcome)) == ["warning"]


@pytest.mark.parametrize("outcome", ["ok", "noop"])
def test_a_tick_that_ended_well_is_information(recorded: RecordedLog, outcome: str) -> None:
    assert levels(recorded, ended(outcome)) == ["info"]


def test_what_needs_a_person_is_louder_than_what_does_not(recorded: RecordedLog) -> None:
    exhausted = kinds.BudgetExhausted(account="x", unit="micro_usd", used=1, limit_amount=1)
    killed = kinds.KillSwitchEngaged(scope="system", why="x")
    assert levels(recorded, exhausted) == ["error"]
    assert levels(recorded, killed) == ["warning"]
    assert levels(recorded, kinds.CycleStarted(worker="a", tick=1)) == ["debug"]


def test_what_is_below_the_loggers_level_is_not_even_made() -> None:
    recorded = RecordedLog(logging.WARNING)
    EventLines(recorded.log)([recorded_event(ended("ok")), recorded_event(ended("failed"))])
    assert [line["outcome"] for line in recorded.lines("cycle_completed")] == ["failed"]


def test_no_kind_of_event_has_a_field_that_a_line_has_already() -> None:
    for kind in kinds.KINDS.values():
        fields = {field.name for field in msgspec.structs.fields(kind)}
        assert not fields & (TAKEN | {"session_id", "event_seq", "correlation_id", "command_id"})
