"""Where nobody can be told, no command fails for that, and none ends in a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.site import ROOT, Site


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("check >&-", 0),
        ("check 2>&-", 0),
        ("check >&- 2>&- <&-", 0),
        ("chekc 2>&-", 64),
        ("chekc 2>/dev/full", 64),
        ("check 2>/dev/full", 0),
    ],
)
def test_a_stream_that_is_closed_or_full_changes_no_exit_code(
    site: Site, words: str, code: int
) -> None:
    done = site.shell(words)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if code:
        # An error that can't be told is no answer: it does not end up among the answers.
        assert done.stdout == ""


@pytest.mark.parametrize("words", ["check", "--help", "--json events", "check --json"])
def test_an_answer_for_which_there_is_no_room_is_a_failure_that_says_so(
    lived: Site, words: str
) -> None:
    done = lived.shell(f"{words} >/dev/full")
    assert done.returncode == 1
    assert "its output can't be written: No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("to", [">&- 2>&-", "2>/dev/full"])
def test_a_tick_is_lived_though_nobody_can_be_told(site: Site, to: str) -> None:
    assert site.shell(f"once digest {to}").returncode == 0
    assert "cycle_completed" in site.call("events").out


def test_ctrl_c_while_the_command_is_imported_is_no_traceback(tmp_path: Path) -> None:
    # `argparse` stands for whatever is being imported when it comes.
    (tmp_path / "argparse.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "status"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
