"""`supervisor simulate`: what it prints, how it ends, and what it leaves alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import pytest

from supervisor.cli.main import main
from supervisor.clock import to_us
from supervisor.ledger import ledger
from supervisor.storage.database import Transaction

WriteConfig = Callable[..., Path]
T = TypeVar("T")


@pytest.fixture
def broken_day(monkeypatch: pytest.MonkeyPatch) -> None:
    def follow_the_wall(tx: Transaction, now: datetime) -> datetime:
        tx.run("ledger.set_clock", now=to_us(now))
        return now

    monkeypatch.setattr(ledger, "ledger_moment", follow_the_wall)


def test_a_month_that_holds_ends_with_0_and_a_scorecard(
    write_config: WriteConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(write_config()), "--days", "2", "--faults"]) == 0
    told = capsys.readouterr().out
    for word in ("ticks: ", "refusals: ", "holds: ", "faults: ", "recovered", "rotations", "DAY"):
        assert word in told
    assert re.search(r"simulate: sound; \d+ checks, \d+ audits, \d+ events", told)
    assert max(map(len, told.splitlines())) <= 100


def test_many_seeds_are_a_line_each_in_their_order(
    write_config: WriteConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", str(write_config()), "simulate", "--days", "0.5", "--seed", "7"]
    assert main([*words, "--seeds", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["seed 7", "seed 8", "seed 9", "simulate"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_its_processes_end_with_it_whatever_ends_it(write_config: WriteConfig) -> None:
    words = [sys.executable, "-m", "supervisor", "simulate", str(write_config())]
    with subprocess.Popen([*words, "--days", "366", "--seeds", "2"]) as running:
        try:
            children = _wait_for(lambda: _simulating(running.pid))
        finally:
            running.kill()
    try:
        _wait_for(lambda: not [pid for pid in children if _is_alive(pid)])
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _simulating(pid: int) -> list[int]:
    """Return the processes that simulate for `pid`, not the one that cleans up after them."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in _command(child)]


def _command(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def _wait_for(look: Callable[[], T]) -> T:
    deadline_s = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline_s, "it does not come"
        time.sleep(0.05)
    return found


def test_json_is_the_whole_scorecard(
    write_config: WriteConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(write_config()), "--days", "1", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["failure"] is None
    assert card["seed"] == 1
    assert sum(card["checks"].values()) > 1_000
    assert card["spend"][0]["limit"] == 350_000


def test_a_seed_that_breaks_a_rule_ends_with_1_and_says_how_to_see_it_again(
    write_config: WriteConfig, capsys: pytest.CaptureFixture[str], broken_day: None
) -> None:
    path = write_config(every_s=600.0)
    words = ["simulate", str(path), "--days", "10", "--only", "wall_back_1h"]
    assert main(words) == 1
    first = capsys.readouterr().out
    assert re.search(
        r"^seed 1 broke: (the spend day never goes back|an account opens)", first, re.M
    )
    assert re.search(r"^ +at \d{4}-\d\d-\d\dT[^ ]+, day \d+\.\d+: ", first, re.M)
    again = re.search(r"^  again: supervisor (.*)$", first, re.M)
    assert again is not None
    # The command that it names meets the same moment again.
    assert main(shlex.split(again[1])) == 1
    second = capsys.readouterr().out
    assert first.splitlines()[:-1] == second.splitlines()[:-1]


def test_the_state_directory_and_the_workers_code_are_left_alone(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    path = write_config()
    assert main(["simulate", str(path), "--days", "0.2"]) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["missing.toml"], 78, "does not exist"),
        (["--days", "0"], 64, "is no span to simulate"),
        (["--days", "1000"], 64, "at most 366"),
        (["--seed", "0"], 64, "is not a whole number"),
        (["--only", "crahs"], 64, "did you mean 'crash'"),
        (["--fault"], 64, "did you mean '--faults'"),
    ],
)
def test_what_is_wrong_is_said_as_everywhere(
    words: list[str],
    code: int,
    said: str,
    write_config: WriteConfig,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(write_config().parent)
    assert main(["simulate", *words]) == code
    assert said in capsys.readouterr().err


def test_a_config_without_workers_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[spend]\ndaily_cap_usd = 1.0\n", encoding="utf-8")
    assert main(["simulate", str(path)]) == 64
    assert "has no worker to simulate" in capsys.readouterr().err
