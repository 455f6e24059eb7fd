"""Every series: its name and labels, and that counters follow committed events and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from supervisor.events import kinds
from supervisor.events.log import Origin, Recorded
from supervisor.metrics import Metrics

NOW = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)

#: What dashboards and alerts hold on to: each sample's name with its labels.
SAMPLES = {
    'supervisor_build_info{version="1.2.3"}',
    'supervisor_ticks_total{outcome="ok",worker="a"}',
    'supervisor_tick_duration_seconds_count{worker="a"}',
    'supervisor_last_progress_timestamp_seconds{worker="a"}',
    "supervisor_heartbeat_timestamp_seconds",
    'supervisor_worker_state{state="running",worker="a"}',
    'supervisor_worker_restarts_total{worker="a"}',
    'supervisor_session_rotations_total{worker="a"}',
    'supervisor_session_started_timestamp_seconds{worker="a"}',
    'supervisor_spend_usd_total{model="p/m",worker="a"}',
    "supervisor_spend_held_usd",
    "supervisor_spend_cap_usd",
    "supervisor_spend_today_usd",
    'supervisor_refusals_total{code="budget_exceeded",worker="a"}',
    'supervisor_holds_total{end="settled"}',
    'supervisor_kill_engaged{scope="system"}',
    'supervisor_breaker_state{name="worker:a",state="open"}',
    'supervisor_events_total{kind="hold_settled"}',
    "supervisor_state_write_failures_total",
    "supervisor_telemetry_dropped_total",
    'supervisor_recoveries_total{finding="ticks"}',
    "supervisor_loop_lag_seconds",
    "supervisor_wal_bytes",
    'supervisor_drill_last_pass_timestamp_seconds{drill="kill"}',
    'gen_ai_client_token_usage_count{gen_ai_request_model="p/m",gen_ai_token_type="input"}',
    'gen_ai_client_token_usage_count{gen_ai_request_model="p/m",gen_ai_token_type="output"}',
    'gen_ai_client_operation_duration_seconds_count{gen_ai_request_model="p/m"}',
    "process_resident_memory_bytes",
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1.2.3")


def recorded_event(event: kinds.Event, *, session_id: str = "a@2026-06-01T10:00Z") -> Recorded:
    origin = Origin(at=NOW, actor="worker:a")
    return Recorded(session_id=session_id, seq=1, origin=origin, event=event)


def commit(metrics: Metrics, *events: kinds.Event) -> None:
    metrics.follow([recorded_event(event) for event in events])


def value(metrics: Metrics, series: str, /, **labels: str) -> float:
    return metrics.registry.get_sample_value(series, labels) or 0.0


def ended(outcome: str) -> kinds.CycleCompleted:
    return kinds.CycleCompleted(worker="a", tick=1, outcome=outcome, duration_s=0.25)


def settled(cost: int) -> kinds.HoldSettled:
    return kinds.HoldSettled(
        hold="a#1.1",
        model="p/m",
        cost=cost,
        tokens=30,
        actions=1,
        input_tokens=20,
        output_tokens=10,
        duration_s=1.5,
    )


REFUSED = kinds.CallRefused(worker="a", model="p/m", code="budget_exceeded", why="x")
CRASHED = kinds.WorkerCrashed(worker="a", error="x", restart_in_s=0.01)
ROTATED = kinds.SessionRotated(worker="a", previous="a@2026-06-01T09:00Z")


def test_every_series_has_its_name_and_its_labels(metrics: Metrics) -> None:
    commit(metrics, ended("ok"), settled(1), REFUSED, CRASHED, ROTATED)
    metrics.show_worker("a", "running", NOW)
    metrics.show_breaker("worker:a", "open")
    metrics.show_recovery(ticks=1)
    metrics.kill_engaged.labels("system").set(0)
    metrics.session_started.labels("a").set(1)
    metrics.drill_last_pass.labels("kill").set(1)
    text = metrics.render().decode()
    found = {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert SAMPLES - found == set()


def test_nothing_is_labelled_by_an_id(metrics: Metrics) -> None:
    commit(metrics, ended("ok"), settled(1), REFUSED, CRASHED, ROTATED)
    text = metrics.render().decode()
    for name in ("a#1", "a@2026", "hold=", "session_id", "tick="):
        assert name not in text


def test_a_tick_is_counted_when_its_end_is_committed(metrics: Metrics) -> None:
    commit(metrics, kinds.CycleStarted(worker="a", tick=1))
    assert value(metrics, "supervisor_ticks_total", worker="a", outcome="ok") == 0
    commit(metrics, ended("ok"), ended("ok"), ended("failed"))
    assert value(metrics, "supervisor_ticks_total", worker="a", outcome="ok") == 2
    assert value(metrics, "supervisor_ticks_total", worker="a", outcome="failed") == 1
    assert value(metrics, "supervisor_tick_duration_seconds_sum", worker="a") == 0.75


def test_a_skipped_tick_is_a_tick_and_a_refusal(metrics: Metrics) -> None:
    skipped = kinds.CycleSkipped(worker="a", tick=1, code="kill_switch_engaged", why="x")
    commit(metrics, skipped)
    assert value(metrics, "supervisor_ticks_total", worker="a", outcome="skipped") == 1
    refusals = value(metrics, "supervisor_refusals_total", worker="a", code="kill_switch_engaged")
    assert refusals == 1
    assert value(metrics, "supervisor_tick_duration_seconds_count", worker="a") == 0


def test_a_recovered_tick_is_a_tick(metrics: Metrics) -> None:
    commit(metrics, kinds.CycleRecovered(worker="a", tick=1, boot_id="boot-1"))
    assert value(metrics, "supervisor_ticks_total", worker="a", outcome="recovered") == 1


def test_spending_is_what_was_settled_and_what_was_forfeited(metrics: Metrics) -> None:
    placed = kinds.HoldPlaced(
        hold="a#1.1", model="p/m", what="", accounts=("x",), cost=900_000, tokens=1, actions=1
    )
    forfeited = kinds.HoldForfeited(
        hold="a#1.2", model="p/m", cost=500_000, tokens=1, actions=1, why="x"
    )
    released = kinds.HoldReleased(hold="a#1.3", why="x")
    commit(metrics, placed, settled(250_000), forfeited, released)
    assert value(metrics, "supervisor_spend_usd_total", worker="a", model="p/m") == 0.75
    for end in ("settled", "forfeited", "released"):
        assert value(metrics, "supervisor_holds_total", end=end) == 1


def test_tokens_and_durations_are_those_of_model_calls_only(metrics: Metrics) -> None:
    labels = {"gen_ai_request_model": "p/m"}
    other = kinds.HoldSettled(hold="a#1.4", model="", cost=1, tokens=1, actions=1)
    commit(metrics, settled(1), other)
    inputs = {"gen_ai_token_type": "input"} | labels
    outputs = {"gen_ai_token_type": "output"} | labels
    assert value(metrics, "gen_ai_client_token_usage_sum", **inputs) == 20
    assert value(metrics, "gen_ai_client_token_usage_sum", **outputs) == 10
    assert value(metrics, "gen_ai_client_operation_duration_seconds_sum", **labels) == 1.5
    assert 'gen_ai_request_model=""' not in metrics.render().decode()


def test_every_event_is_counted_by_its_kind(metrics: Metrics) -> None:
    commit(metrics, CRASHED, CRASHED, ROTATED)
    metrics.follow(["no event", object()])
    assert value(metrics, "supervisor_events_total", kind="worker_crashed") == 2
    assert value(metrics, "supervisor_worker_restarts_total", worker="a") == 2
    assert value(metrics, "supervisor_session_rotations_total", worker="a") == 1


def test_a_worker_is_in_one_state(metrics: Metrics) -> None:
    for life in ("running", "restarting"):
        metrics.show_worker("a", life, None)
    states = {
        state: value(metrics, "supervisor_worker_state", worker="a", state=state)
        for state in ("running", "restarting", "failed", "stopped")
    }
    assert states == {"running": 0, "restarting": 1, "failed": 0, "stopped": 0}
    assert value(metrics, "supervisor_last_progress_timestamp_seconds", worker="a") == 0


def test_last_progress_is_a_moment_in_unix_time(metrics: Metrics) -> None:
    metrics.show_worker("a", "running", NOW)
    progress = value(metrics, "supervisor_last_progress_timestamp_seconds", worker="a")
    assert progress == NOW.timestamp()


def test_a_breaker_is_in_one_state(metrics: Metrics) -> None:
    metrics.show_breaker("worker:a", "open")
    metrics.show_breaker("worker:a", "half_open")
    states = {
        state: value(metrics, "supervisor_breaker_state", name="worker:a", state=state)
        for state in ("closed", "open", "half_open")
    }
    assert states == {"closed": 0, "open": 0, "half_open": 1}


def test_what_recovery_found_is_counted_by_finding(metrics: Metrics) -> None:
    metrics.show_recovery(ticks=2, holds=3, sessions=0)
    metrics.show_recovery(ticks=1)
    assert value(metrics, "supervisor_recoveries_total", finding="ticks") == 3
    assert value(metrics, "supervisor_recoveries_total", finding="holds") == 3


@pytest.mark.parametrize("kind", kinds.KINDS.values(), ids=kinds.KINDS.keys())
def test_every_kind_of_event_can_be_followed(metrics: Metrics, kind: type[kinds.Event]) -> None:
    values: dict[object, object] = {str: "x", int: 1, float: 0.5, tuple[str, ...]: ("x",)}
    values |= {bool: True, int | None: 1}
    fields = msgspec.structs.fields(kind)
    commit(metrics, kind(**{field.name: values[field.type] for field in fields}))
    assert value(metrics, "supervisor_events_total", kind=kind.kind) == 1
