"""Words that are not known are refused with the nearest that is; errors have one form."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor import __version__
from supervisor.cli.commands import COMMANDS
from supervisor.cli.main import main
from tests.unit.cli.site import Site

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no command was named"),
        (["statsu"], "did you mean 'status'?"),
        (["frobnicate"], "there is: run, once, check"),
        (["--jsn", "status"], "did you mean '--json'?"),
        (["status", "--jsno"], "did you mean '--json'?"),
        (["status", "--js"], "supervisor status --js: is not known"),
        (["status", "now"], "supervisor status now: is not known"),
        (["--config"], "expected one argument"),
        (["once"], "the following arguments are required: WORKER"),
        (["sessions", "--limit", "0"], "'0' is not a whole number of at least 1"),
        (["sessions", "--limit", "many"], "'many' is not a whole number"),
        (["stop", "--wait-s", "-1"], "'-1' is not a number of seconds"),
        (["stop", "--wait-s", "nan"], "'nan' is not a number of seconds"),
        (["spend", "--by", "week"], "invalid choice: 'week'"),
        (["simulate", "--days", "many"], "'many' is not a number of days"),
    ],
)
def test_words_that_are_not_known_exit_64_and_name_the_cure(
    site: Site, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 64
    err = capsys.readouterr().err
    assert err.startswith("error[usage]: ")
    assert told in err
    assert len(err.splitlines()) == 1


def test_error_is_json_on_stderr_where_json_was_asked_for(site: Site) -> None:
    called = site.call("kil", "--json")
    assert (called.code, called.out) == (64, "")
    assert json.loads(called.err) == {
        "error": {
            "code": "usage",
            "message": "command 'kil': is not known",
            "fix": "did you mean 'kill'?",
        }
    }


def test_config_that_does_not_exist_exits_78(site: Site) -> None:
    site.config.unlink()
    called = site.call("status")
    assert called.code == 78
    assert f"error[config]: config {site.config}: does not exist" in called.err


def test_current_folder_that_was_deleted_exits_78_with_the_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert main(["status"]) == 78
    assert "the current folder does not exist any more; change to one" in capsys.readouterr().err


def test_config_is_taken_before_and_after_the_command(site: Site) -> None:
    assert main(["status", "--config", str(site.config)]) == 3
    assert main(["--config", "/nowhere.toml", "status", "--config", str(site.config)]) == 3


def test_config_is_taken_from_the_environment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(site.config))
    assert main(["status"]) == 3


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"supervisor {__version__}\n"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_within_100_columns(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: supervisor {command}")
    assert max(map(len, out.splitlines())) <= 100


def test_reader_that_has_enough_ends_us_quietly(
    lived: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(["--config", str(lived.config), "events"]) == 141
    assert capsys.readouterr().err == ""


def test_run_path_imports_nothing_that_it_does_not_need() -> None:
    heavy = ("aiosqlite", "anyio", "asyncio", "httpx", "starlette", "uvicorn", "genai_prices")
    code = f"import sys, supervisor.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "nothing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 64
    assert done.stderr.startswith("error[usage]: command 'nothing'")
