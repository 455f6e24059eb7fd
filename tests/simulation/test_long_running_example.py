"""The playbook's example on this system: every cycle is decided, and the record proves it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.config.horizons import HORIZONS

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "long_running_autonomous_agent.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.parametrize(
    ("horizon", "approved", "denied", "sessions"),
    [("hour", 10, 2, 1), ("day", 37, 11, 6), ("week", 127, 41, 7), ("month", 542, 178, 30)],
)
def test_a_horizon_is_lived_through_and_every_cycle_is_decided(
    horizon: str, approved: int, denied: int, sessions: int, tmp_path: Path
) -> None:
    cycles = HORIZONS[horizon].cycles
    lived = run("--horizon", horizon, "--folder", str(tmp_path))
    assert lived.returncode == 0, lived.stdout + lived.stderr
    told = lived.stdout
    assert f"approved {approved} + denied {denied} = {cycles} of {cycles} cycles" in told
    assert approved + denied == cycles
    used_up = re.search(rf"^sessions {sessions}, budgets used up (\d+)$", told, re.M)
    assert used_up is not None
    assert int(used_up[1]) > 0
    assert "scorecard and events: equal" in told
    assert f"{cycles} ticks" in told.partition("audit: sound")[2]


def test_the_number_of_cycles_can_be_said(tmp_path: Path) -> None:
    lived = run("--horizon", "month", "--max-cycles", "31", "--folder", str(tmp_path))
    assert lived.returncode == 0, lived.stdout + lived.stderr
    assert "= 31 of 31 cycles" in lived.stdout
    assert re.search(r"^sessions 2,", lived.stdout, re.M)
    assert "31 cycles, 1 day, 6:00:00 of virtual time" in lived.stdout


def test_its_store_can_be_used_by_every_command_and_by_no_second_run(tmp_path: Path) -> None:
    assert run("--horizon", "hour", "--folder", str(tmp_path)).returncode == 0
    again = run("--horizon", "hour", "--folder", str(tmp_path))
    assert (again.returncode, "is there already; name another folder" in again.stderr) == (64, True)
    words = ["--config", "config.toml", "--json", "checkpoints", "support"]
    listed = subprocess.run(
        [sys.executable, "-m", "supervisor", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    # Every 6 of 12 cycles, and at the end.
    assert [one["label"] for one in json.loads(listed.stdout)["checkpoints"]].count("periodic") == 2


def test_in_real_time_it_is_a_daemon_that_goes_on_where_it_was(tmp_path: Path) -> None:
    words = ("--horizon", "hour", "--real", "--folder", str(tmp_path))
    first = run(*words, "--max-cycles", "1")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "= 1 of 1 cycles" in first.stdout
    second = run(*words, "--max-cycles", "2")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "= 2 of 2 cycles" in second.stdout
    assert "scorecard and events: equal" in second.stdout


@pytest.mark.parametrize("words", [("--horizon", "year"), ("--max-cycles", "0")])
def test_what_is_mistyped_is_said(words: tuple[str, ...]) -> None:
    called = run(*words)
    assert called.returncode == 2
    assert words[1] in called.stderr
