"""A config to simulate: caps that bite, two kinds of windows, two zones with clock changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.config import Loaded, NothingMissing, load
from supervisor.simulation.faults import FaultKind
from supervisor.simulation.scorecard import Scorecard
from supervisor.simulation.world import Settings, simulate

#: The modules of the workers do not exist: the simulation must not want to import them.
CONFIG = """
[supervisor]
timezone = "Europe/Berlin"

[session]
window = "4h"
max_cost_usd = 0.20
max_actions = 60

[spend]
daily_cap_usd = {cap}
on_cap = "{on_cap}"

[[budget]]
scope = "worker:hourly"
period = "hour"
max_cost_usd = 0.06

[[budget]]
scope = "model:paid/large"
period = "week"
max_tokens = 900000

[providers.paid]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
price = {{ input_usd_per_mtok = 0.25, output_usd_per_mtok = 2.0 }}
max_tokens = 1000

[worker.hourly]
run = "nowhere:run"
every_s = {every_s}
model = "paid/large"
window = "hourly"

[worker.island]
run = "nowhere:run"
cron = "*/30 * * * *"
timezone = "Australia/Lord_Howe"
model = "paid/small"
"""


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the config and returns its path."""

    def write(*, cap: float = 0.35, on_cap: str = "wait", every_s: float = 1800.0) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(CONFIG.format(cap=cap, on_cap=on_cap, every_s=every_s), encoding="utf-8")
        return path

    return write


@pytest.fixture
def loaded(write_config: Callable[..., Path]) -> Loaded:
    return load(write_config(), NothingMissing())


@pytest.fixture
def first_broken(write_config: Callable[..., Path]) -> Callable[..., Scorecard | None]:
    """Return a function that simulates seed after seed and returns the first that breaks a rule."""

    def find(
        *, seeds_max: int, days: float, every_s: float, only: tuple[FaultKind, ...] = ()
    ) -> Scorecard | None:
        loaded = load(write_config(every_s=every_s), NothingMissing())
        for seed in range(1, seeds_max + 1):
            card = simulate(loaded, Settings(seed=seed, days=days, only=only))
            if card.failure is not None:
                return card
        return None

    return find
