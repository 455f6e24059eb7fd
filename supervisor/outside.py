"""What a program beside the daemon may ask of the daemon's own budgets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from supervisor.assembly import build_budgets
from supervisor.cli.store import opened, prepare_state_dir
from supervisor.config import NothingMissing, load
from supervisor.governance.token_budgets import TokenBudgetConfig
from supervisor.governance.token_tracker import TokenBudgetTracker
from supervisor.model_assembly import build_governor


@asynccontextmanager
async def open_tracker(
    config: str | Path = "config.toml", configs: Sequence[TokenBudgetConfig] = ()
) -> AsyncIterator[TokenBudgetTracker]:
    """Open the store of a config file and give its budgets; the daemon may run or not.

    `configs` come on top of what the file limits.

    Raises:
        ConfigError: the file can't be used.
        StoreUnavailable: the store can't be opened.
    """
    loaded = load(Path(config).absolute(), NothingMissing())
    prepare_state_dir(loaded)
    async with opened(loaded, is_read_only=False) as database:
        yield TokenBudgetTracker(
            database,
            configs,
            budgets=build_budgets(loaded),
            governor=build_governor(loaded.config),
        )
