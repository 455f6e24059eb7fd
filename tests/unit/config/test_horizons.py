"""A horizon presets what the file leaves out, and nothing that it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor.config.horizons import HORIZONS
from supervisor.windows import parse_window
from tests.unit.config.conftest import Read, Refusal

WORKERS = """
[worker.plain]
run = "agent:run"
[worker.quick]
run = "agent:run"
every_s = 2.0
[worker.early]
run = "agent:run"
cron = "0 6 * * *"
"""
PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


@pytest.mark.parametrize(
    ("horizon", "window", "checkpoint_every", "cycles"),
    [
        ("hour", "hourly", 6, 12),
        ("day", "4h", 12, 48),
        ("week", "daily", 24, 168),
        ("month", "daily", 24, 720),
    ],
)
def test_a_horizon_presets_what_the_file_leaves_out(
    read: Read, horizon: str, window: str, checkpoint_every: int, cycles: int
) -> None:
    config = read(f'[session]\nhorizon = "{horizon}"\n{WORKERS}').config
    profile = HORIZONS[horizon]
    assert (config.session.window, config.session.checkpoint_every) == (window, checkpoint_every)
    assert config.session.max_cost_usd == profile.max_cost_usd
    assert config.session.max_actions == profile.max_actions
    assert config.worker["plain"].every_s == profile.every_s
    assert profile.cycles == cycles
    assert profile.length_s >= parse_window(window)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window", "15m"),
        ("checkpoint_every", 3),
        ("max_cost_usd", 0.25),
        ("max_actions", 7),
        ("execution_mode", "dry_run"),
    ],
)
def test_each_key_is_overridable(read: Read, key: str, value: object) -> None:
    said = f'"{value}"' if isinstance(value, str) else value
    config = read(f'[session]\nhorizon = "month"\n{key} = {said}\n{WORKERS}').config
    preset = read(f'[session]\nhorizon = "month"\n{WORKERS}').config
    assert getattr(config.session, key) == value
    same = [name for name in config.session.__struct_fields__ if name != key]
    assert all(getattr(config.session, n) == getattr(preset.session, n) for n in same)


def test_a_worker_that_says_when_it_ticks_keeps_its_schedule(read: Read) -> None:
    config = read(f'[session]\nhorizon = "month"\n{WORKERS}').config
    assert config.worker["quick"].every_s == 2.0
    assert (config.worker["early"].every_s, config.worker["early"].cron) == (None, "0 6 * * *")


def test_without_a_horizon_a_worker_needs_a_schedule(refusal: Refusal) -> None:
    error = refusal('[worker.plain]\nrun = "agent:run"\n')
    assert "has no single schedule" in error.what
    assert "or a [session] horizon" in error.fix


def test_an_unknown_horizon_is_refused_with_the_nearest(refusal: Refusal) -> None:
    assert "did you mean 'month'?" in str(refusal('[session]\nhorizon = "months"\n'))


@pytest.mark.parametrize("horizon", ["3", "[1]", "true"])
def test_a_horizon_of_a_wrong_kind_is_refused(refusal: Refusal, horizon: str) -> None:
    assert "session.horizon" in refusal(f"[session]\nhorizon = {horizon}\n").subject


def test_the_manual_has_every_horizons_values() -> None:
    rows = re.findall(r"^\| `(hour|day|week|month)` \| `(\w+)` \| (.*) \|$", PAGE.read_text(), re.M)
    told = {
        name: (window, *(float(cell) for cell in cells.split(" | ")))
        for name, window, cells in rows
    }
    assert told == {
        name: (one.window, one.checkpoint_every, one.max_cost_usd, one.max_actions, one.every_s)
        for name, one in HORIZONS.items()
    }
