"""Keeps AI agents working for weeks with nobody watching."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.errors import (
        ActionDenied,
        ApprovalRequired,
        BreakerOpen,
        BudgetExceeded,
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
    )
    from supervisor.governance.outputs import Output
    from supervisor.outcome import Outcome
    from supervisor.worker.context import Context
    from supervisor.worker.wake_gate import Glance

__version__ = "0.1.0"

__all__ = [
    "ActionDenied",
    "ApprovalRequired",
    "BreakerOpen",
    "BudgetExceeded",
    "Context",
    "Glance",
    "HttpFailed",
    "InputRefused",
    "KillSwitchEngaged",
    "ModelAccessDenied",
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
]

# Looked up on first use: a worker's module imports the package without importing the daemon.
_HOMES = {
    "Context": "supervisor.worker.context",
    "Glance": "supervisor.worker.wake_gate",
    "Outcome": "supervisor.outcome",
    "Output": "supervisor.governance.outputs",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "supervisor.errors")), name)
