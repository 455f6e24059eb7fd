"""The configuration: one TOML file, typed and frozen, and the only reader of the environment."""

from supervisor.config.budget_checks import models_of
from supervisor.config.reading import (
    Environment,
    Loaded,
    NothingMissing,
    child_environment,
    config_path,
    load,
    person,
    take_notify_socket,
)
from supervisor.config.sections import (
    BudgetSection,
    Config,
    LogSection,
    PriceTable,
    ProviderSection,
    SupervisorSection,
    WorkerSection,
)

__all__ = [
    "BudgetSection",
    "Config",
    "Environment",
    "Loaded",
    "LogSection",
    "NothingMissing",
    "PriceTable",
    "ProviderSection",
    "SupervisorSection",
    "WorkerSection",
    "child_environment",
    "config_path",
    "load",
    "models_of",
    "person",
    "take_notify_socket",
]
