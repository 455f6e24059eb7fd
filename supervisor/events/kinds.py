"""Every kind of event, each a frozen value whose fields are its payload."""

from __future__ import annotations

from supervisor.events import (  # noqa: F401 - their kinds are among the leaves below
    alert_kinds,
    approval_kinds,
    effect_kinds,
    hands_kinds,
    incident_kinds,
    job_kinds,
    model_kinds,
    upkeep_kinds,
    value_kinds,
)
from supervisor.events.event import Event

__all__ = ["KINDS", "Event"]  # and the kinds that are defined here
__all__ = ["KINDS", "Event"]


# --- daemon


class DaemonStarted(Event, frozen=True, kw_only=True):
    """A daemon's life began; `boot_id` names it in ticks and holds."""

    kind = "daemon_started"
    boot_id: str
    version: str


class DaemonStopped(Event, frozen=True, kw_only=True):
    """A daemon ended by itself, its ticks ended and its store flushed."""

    kind = "daemon_stopped"
    boot_id: str
    why: str


class ConfigurationChanged(Event, frozen=True, kw_only=True):
    """The config was read anew; `changes` are the paths whose values differ."""

    kind = "configuration_changed"
    changes: tuple[str, ...]


class LoopBlocked(Event, frozen=True, kw_only=True):
    """The event loop did not turn for `lag_s` seconds; `worker` and `where` are what was seen."""

    kind = "loop_blocked"
    state_bearing = False
    lag_s: float
    worker: str = ""
    where: str = ""


class MemoryExceeded(Event, frozen=True, kw_only=True):
    """The process held more memory than `limit_mb`, so that it drains and asks for a restart."""

    kind = "memory_exceeded"
    state_bearing = False
    resident_mb: int
    limit_mb: int


class TelemetryDropped(Event, frozen=True, kw_only=True):
    """So many events that change no state were dropped, because the store did not take them."""

    kind = "telemetry_dropped"
    state_bearing = False
    count: int


# --- ticks ("cycle" in the playbook's event names)


class CycleStarted(Event, frozen=True, kw_only=True):
    """A tick passed the gates and its worker was called; `due_at` is of the cron occurrence."""

    kind = "cycle_started"
    worker: str
    tick: int
    due_at: int = 0


class OccurrenceMissed(Event, frozen=True, kw_only=True):
    """An occurrence of a worker's cron expression does not run, for the reason given."""

    kind = "occurrence_missed"
    worker: str
    due_at: int
    why: str


class CycleSkipped(Event, frozen=True, kw_only=True):
    """A gate said no before the tick; the worker was not called. `code` is the refusal's."""

    kind = "cycle_skipped"
    worker: str
    tick: int
    code: str
    why: str


class CycleCompleted(Event, frozen=True, kw_only=True):
    """A tick ended with `outcome`; `code` is a refusal's or error's, `why` also a worker's own."""

    kind = "cycle_completed"
    worker: str
    tick: int
    outcome: str
    duration_s: float
    code: str = ""
    why: str = ""


class CycleRecovered(Event, frozen=True, kw_only=True):
    """A tick of a dead life was found running and closed; what it did is unknown."""

    kind = "cycle_recovered"
    worker: str
    tick: int
    boot_id: str


class WorkerCrashed(Event, frozen=True, kw_only=True):
    """A worker raised; it starts again after `restart_in_s` seconds."""

    kind = "worker_crashed"
    worker: str
    error: str
    restart_in_s: float


class WorkerFailed(Event, frozen=True, kw_only=True):
    """A worker crashed too often and is left stopped until the daemon starts or reloads."""

    kind = "worker_failed"
    worker: str
    crashes: int
    window_s: float
    error: str


# --- sessions


class SessionOpened(Event, frozen=True, kw_only=True):
    """A window began; the first event of its sequence."""

    kind = "session_opened"
    worker: str
    window_start: int
    window_end: int
    received_note: str = ""


class SessionClosed(Event, frozen=True, kw_only=True):
    """A window was completed; the last event of its sequence, sealed by the summary."""

    kind = "session_closed"
    worker: str


class SessionRotated(Event, frozen=True, kw_only=True):
    """A window opened as the successor of `previous`."""

    kind = "session_rotated"
    worker: str
    previous: str


class SessionPaused(Event, frozen=True, kw_only=True):
    """Nothing runs in the session until it is resumed."""

    kind = "session_paused"
    worker: str
    why: str


class SessionResumed(Event, frozen=True, kw_only=True):
    """A paused session is active again: its daemon has started, or a person has said so."""

    kind = "session_resumed"
    worker: str
    why: str
    is_by_hand: bool = False


class CheckpointCreated(Event, frozen=True, kw_only=True):
    """A worker's state was kept under a label."""

    kind = "checkpoint_created"
    worker: str
    checkpoint: str
    label: str
    tick: int


class RollbackCompleted(Event, frozen=True, kw_only=True):
    """A worker's state was put back to a checkpoint's; `state_sha256` is of the JSON restored."""

    kind = "rollback_completed"
    worker: str
    checkpoint: str
    tick: int
    state_bytes: int
    state_sha256: str


class KillSwitchEngaged(Event, frozen=True, kw_only=True):
    """A kill was latched."""

    kind = "kill_switch_engaged"
    scope: str
    why: str


class KillSwitchReleased(Event, frozen=True, kw_only=True):
    """A kill was unlatched by a named actor."""

    kind = "kill_switch_released"
    scope: str
    why: str


class BreakerOpened(Event, frozen=True, kw_only=True):
    """A breaker opened, the `openings`-th time on end; `retry_at` is when it lets a probe in."""

    kind = "breaker_opened"
    name: str
    why: str
    retry_at: int
    cause: str = "overrun"
    openings: int = 1


class BreakerHalfOpened(Event, frozen=True, kw_only=True):
    """A breaker lets one probe through: a tick, or a call by its hold."""

    kind = "breaker_half_opened"
    name: str
    probe: str = ""


class BreakerClosed(Event, frozen=True, kw_only=True):
    """A breaker's probe went well, or a person has closed it; `why` says which."""

    kind = "breaker_closed"
    name: str
    why: str = ""
    is_by_hand: bool = False


class AccountOpened(Event, frozen=True, kw_only=True):
    """An account's first use; `settled` is what its scope had spent in the period before."""

    kind = "account_opened"
    account: str
    limit_amount: int
    settled: int = 0


class AccountLimitChanged(Event, frozen=True, kw_only=True):
    """The config gave a running account another limit."""

    kind = "account_limit_changed"
    account: str
    before: int
    limit_amount: int


class AccountRecounted(Event, frozen=True, kw_only=True):
    """An account took up what its scope had used while no such limit stood."""

    kind = "account_recounted"
    account: str
    before: int
    settled: int


class AccountOverrun(Event, frozen=True, kw_only=True):
    """An account stands above its limit by `overrun`, for the reason given."""

    kind = "account_overrun"
    account: str
    overrun: int
    why: str


class BudgetWarning(Event, frozen=True, kw_only=True):
    """An account passed its warning ratio; once per account, and so per period."""

    kind = "budget_warning"
    account: str
    unit: str
    used: int
    limit_amount: int


class BudgetExhausted(Event, frozen=True, kw_only=True):
    """An account of money or actions refused a hold or was passed; once for each period."""

    kind = "budget_exhausted"
    account: str
    unit: str
    used: int
    limit_amount: int


class TokenBudgetExhausted(Event, frozen=True, kw_only=True):
    """An account of tokens refused a hold or was passed; once for each period."""

    kind = "token_budget_exhausted"
    account: str
    used: int
    limit_amount: int


class HoldPlaced(Event, frozen=True, kw_only=True):
    """A hold was reserved on all its accounts before a call."""

    kind = "hold_placed"
    hold: str
    model: str
    what: str
    accounts: tuple[str, ...]
    cost: int
    tokens: int
    actions: int
    org: str = ""
    team: str = ""
    user: str = ""
    conversation: str = ""


class HoldSettled(Event, frozen=True, kw_only=True):
    """A call's cost is known; `context` counts for [context], `saved` is against the best model."""

    kind = "hold_settled"
    hold: str
    model: str
    cost: int
    tokens: int
    actions: int
    input_tokens: int = 0
    output_tokens: int = 0
    duration_s: float = 0.0
    context: int = 0
    saved: int = 0


class HoldReleased(Event, frozen=True, kw_only=True):
    """A hold returned whole: it is known that nothing was done for it."""

    kind = "hold_released"
    hold: str
    why: str


class HoldForfeited(Event, frozen=True, kw_only=True):
    """A hold was kept whole as spent: what its call cost is unknown."""

    kind = "hold_forfeited"
    hold: str
    model: str
    cost: int
    tokens: int
    actions: int
    why: str


class HoldReconciled(Event, frozen=True, kw_only=True):
    """A forfeited hold was put at its actual cost by a named actor."""

    kind = "hold_reconciled"
    hold: str
    cost_before: int
    cost: int


class CallRefused(Event, frozen=True, kw_only=True):
    """A paid call was refused before it was made: a decision, which is on record or not made."""

    kind = "call_refused"
    worker: str
    model: str
    code: str
    why: str


def _leaves(parent: type[Event]) -> list[type[Event]]:
    return [leaf for child in parent.__subclasses__() for leaf in [child, *_leaves(child)]]


#: Every kind by its name, for reading events back.
KINDS: dict[str, type[Event]] = {leaf.kind: leaf for leaf in _leaves(Event)}
