"""Keeps AI agents working for weeks with nobody watching."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.errors import (
        AccessDenied,
        ActionDenied,
        ApprovalRequired,
        BreakerOpen,
        BudgetExceeded,
        ContextExceeded,
        HttpFailed,
        InputRefused,
        KillSwitchEngaged,
        ModelAccessDenied,
        OutputRejected,
        PermanentFailure,
        PriceUnknown,
        ProviderFailed,
        Refusal,
        RequestRefused,
        SessionNotActive,
        SupervisorError,
        TokenBudgetExhausted,
    )
    from supervisor.governance.model_governor import (
        ModelGovernor,
        ModelList,
        ModelRule,
        ModelTier,
    )
    from supervisor.governance.outputs import Output
    from supervisor.governance.token_budgets import TokenBudgetConfig
    from supervisor.governance.token_tracker import TokenBudgetTracker
    from supervisor.identity import Identity
    from supervisor.jobs.effects import EffectInFlight, EffectUnknown
    from supervisor.outcome import Outcome
    from supervisor.outside import open_tracker
    from supervisor.worker.context import Context
    from supervisor.worker.effects import NOT_DONE
    from supervisor.worker.wake_gate import Glance

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "ActionDenied",
    "ApprovalRequired",
    "BreakerOpen",
    "BudgetExceeded",
    "Context",
    "EffectInFlight",
    "EffectUnknown",
    "NOT_DONE",
    "ContextExceeded",
    "Glance",
    "HttpFailed",
    "Identity",
    "InputRefused",
    "KillSwitchEngaged",
    "ModelAccessDenied",
    "ModelGovernor",
    "ModelList",
    "ModelRule",
    "ModelTier",
    "Outcome",
    "Output",
    "OutputRejected",
    "PermanentFailure",
    "PriceUnknown",
    "ProviderFailed",
    "Refusal",
    "RequestRefused",
    "SessionNotActive",
    "SupervisorError",
    "TokenBudgetConfig",
    "TokenBudgetExhausted",
    "TokenBudgetTracker",
    "open_tracker",
]

# Looked up on first use: a worker's module imports the package without importing the daemon.
_GOVERNOR = "supervisor.governance.model_governor"
_HOMES = {
    "EffectInFlight": "supervisor.jobs.effects",
    "EffectUnknown": "supervisor.jobs.effects",
    "NOT_DONE": "supervisor.worker.effects",
    "Context": "supervisor.worker.context",
    "Glance": "supervisor.worker.wake_gate",
    "Identity": "supervisor.identity",
    "ModelGovernor": _GOVERNOR,
    "ModelList": _GOVERNOR,
    "ModelRule": _GOVERNOR,
    "ModelTier": _GOVERNOR,
    "Outcome": "supervisor.outcome",
    "Output": "supervisor.governance.outputs",
    "TokenBudgetConfig": "supervisor.governance.token_budgets",
    "TokenBudgetTracker": "supervisor.governance.token_tracker",
    "open_tracker": "supervisor.outside",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "supervisor.errors")), name)
