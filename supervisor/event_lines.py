"""Committed events as log lines: a projection, so that no line tells what did not happen."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec
from structlog.typing import FilteringBoundLogger

from supervisor.clock import from_us, iso
from supervisor.events.log import Recorded
from supervisor.money import to_usd

_LEVELS: dict[str, int] = {
    "cycle_started": logging.DEBUG,
    "hold_placed": logging.DEBUG,
    "hold_settled": logging.DEBUG,
    "hold_released": logging.DEBUG,
    "hold_joined": logging.DEBUG,
    "model_routed": logging.DEBUG,
    "model_fell_back": logging.WARNING,
    "account_opened": logging.DEBUG,
    "token_usage_recorded": logging.DEBUG,
    "checkpoint_created": logging.DEBUG,
    "hold_forfeited": logging.WARNING,
    "cycle_recovered": logging.WARNING,
    "daemon_died": logging.WARNING,
    "call_refused": logging.WARNING,
    "model_access_denied": logging.WARNING,
    "worker_crashed": logging.WARNING,
    "rollback_failed": logging.WARNING,
    "budget_warning": logging.WARNING,
    "kill_switch_engaged": logging.WARNING,
    "kill_switch_released": logging.WARNING,
    "loop_blocked": logging.WARNING,
    "account_carried": logging.WARNING,
    "ledger_clock_reset": logging.WARNING,
    "store_restored": logging.WARNING,
    "telemetry_dropped": logging.WARNING,
    "budget_exhausted": logging.ERROR,
    "token_budget_exhausted": logging.ERROR,
    "account_overrun": logging.ERROR,
    "breaker_opened": logging.ERROR,
    "worker_failed": logging.ERROR,
    "drill_failed": logging.ERROR,
    "session_stuck": logging.ERROR,
    "session_aborted": logging.WARNING,
    "memory_exceeded": logging.ERROR,
    "risk_assessed": logging.DEBUG,
    "proposal_made": logging.DEBUG,
    "execution_started": logging.DEBUG,
    "approval_requested": logging.WARNING,
    "approval_denied": logging.WARNING,
    "approval_timed_out": logging.WARNING,
    "execution_failed": logging.WARNING,
    "session_risk_escalated": logging.WARNING,
    "job_enqueued": logging.DEBUG,
    "effect_taken": logging.DEBUG,
    "effect_done": logging.DEBUG,
    "effect_unknown": logging.ERROR,
    "job_claimed": logging.DEBUG,
    "job_completed": logging.DEBUG,
    "items_begun": logging.DEBUG,
    "item_done": logging.DEBUG,
    "job_retried": logging.WARNING,
    "job_quarantined": logging.ERROR,
    "job_dead_lettered": logging.ERROR,
    "job_completion_refused": logging.WARNING,
    "lease_expired": logging.WARNING,
    "http_requested": logging.DEBUG,
    "http_ended": logging.DEBUG,
    "guardrail_tool": logging.WARNING,
    "guardrail_output": logging.ERROR,
    "output_published": logging.DEBUG,
    "memory_changed": logging.DEBUG,
}
#: What of a payload is a moment, what is always money, and what is in its account's unit; as in
#: cli/event_pages.py.
_MOMENTS = frozenset(
    {
        "run_at",
        "window_start",
        "window_end",
        "retry_at",
        "backup_at",
        "clock_before",
        "clock_at",
        "deadline_at",
        "expires_at",
    }
)
_MONEY = frozenset({"cost", "cost_before", "cost_max"})
_AMOUNTS = frozenset({"used", "limit_amount", "settled", "overrun", "before"})
_BAD_OUTCOMES = frozenset({"failed", "timed_out", "refused", "cancelled", "unknown"})


class EventLines:
    """Writes a line for each committed event at the level that its kind has."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._level = _level_of(log)

    def __call__(self, facts: Sequence[object]) -> None:
        """Write the lines of one commit."""
        for fact in facts:
            if isinstance(fact, Recorded):
                level = _level(fact)
                if level >= self._level:
                    self._log.log(level, fact.event.kind, **_fields(fact))


def _level_of(log: FilteringBoundLogger) -> int:
    return log.get_effective_level()


def _level(recorded: Recorded) -> int:
    if getattr(recorded.event, "outcome", "") in _BAD_OUTCOMES:
        return logging.WARNING
    return _LEVELS.get(recorded.event.kind, logging.INFO)


def _fields(recorded: Recorded) -> dict[str, object]:
    fields: dict[str, object] = {
        "worker": recorded.session_id.partition("@")[0],
        "session_id": recorded.session_id,
        "event_seq": recorded.seq,
    }
    if recorded.origin.correlation_id:
        fields["correlation_id"] = recorded.origin.correlation_id
    if recorded.origin.command_id:
        fields["command_id"] = recorded.origin.command_id
    payload: dict[str, object] = msgspec.to_builtins(recorded.event)
    is_money = payload.get("unit") == "micro_usd" or (
        str(payload.get("account", "")).endswith("/micro_usd")
    )
    money = _MONEY | _AMOUNTS if is_money else _MONEY
    for key, value in payload.items():
        if isinstance(value, int) and key in _MOMENTS:
            fields[key] = iso(from_us(value))
        elif isinstance(value, int) and key in money:
            fields[f"{key}_usd"] = to_usd(value)
        else:
            fields[key] = value
    return fields
