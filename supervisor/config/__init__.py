"""The configuration: one TOML file, typed and frozen, and the only reader of the environment."""

from supervisor.config.reading import (
    Environment,
    Loaded,
    config_path,
    load,
    notify_socket,
    person,
    watchdog_s,
)
from supervisor.config.sections import (
    BudgetSection,
    Config,
    LogSection,
    PriceTable,
    ProviderSection,
    WorkerSection,
)

__all__ = [
    "BudgetSection",
    "Config",
    "Environment",
    "Loaded",
    "LogSection",
    "PriceTable",
    "ProviderSection",
    "WorkerSection",
    "config_path",
    "load",
    "notify_socket",
    "person",
    "watchdog_s",
]
