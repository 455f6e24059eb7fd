"""The service files say what they should, in words that systemd and launchd know."""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "supervisor.service"
PLIST = DEPLOY / "launchd" / "com.acp.supervisor.plist"
#: The default of [supervisor] grace_s: what the daemon takes to drain.
GRACE_S = 30
EXPOSURE_MAX_TENTHS = 15
_EXEC_START = re.compile(r"^ExecStart=(\S+)( .*)$", re.MULTILINE)


@pytest.fixture
def systemd_analyze() -> str:
    command = shutil.which("systemd-analyze")
    if command is None:
        # A laptop without systemd may skip this; the gate may not lose it silently.
        assert not os.environ.get("CI"), "systemd-analyze is missing where CI is set: install it"
        pytest.skip("systemd-analyze is not installed here")
    return command


def _verify(systemd_analyze: str, unit: Path) -> tuple[int, str]:
    ended = subprocess.run(
        [systemd_analyze, "verify", str(unit)], capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stderr


def _installed_copy(folder: Path, text: str) -> Path:
    """Write the unit with a command that exists here.

    `verify` refuses a command that is not installed, and the shipped path is not, where the tests
    run. Only that word is exchanged: every other byte is the shipped file's.
    """
    copy = folder / "supervisor.service"
    copy.write_text(_EXEC_START.sub(rf"ExecStart={sys.executable}\2", text))
    return copy


def test_verified_copy_differs_from_the_shipped_unit_in_the_command_alone(tmp_path: Path) -> None:
    shipped = UNIT.read_text().splitlines()
    copied = _installed_copy(tmp_path, UNIT.read_text()).read_text().splitlines()
    changed = [pair for pair in zip(shipped, copied, strict=True) if pair[0] != pair[1]]
    assert [before for before, _ in changed] == [f"ExecStart={_setting('ExecStart')}"]


def test_systemd_finds_nothing_to_say_about_the_unit(systemd_analyze: str, tmp_path: Path) -> None:
    # An unknown key or a bad value is only a warning: it exits with 0.
    assert _verify(systemd_analyze, _installed_copy(tmp_path, UNIT.read_text())) == (0, "")


@pytest.mark.parametrize("line", ["WatchdogSecs=30", "KillMode=nicely", "RestartSec=soon"])
def test_wrong_line_in_the_unit_would_be_noticed(
    systemd_analyze: str, tmp_path: Path, line: str
) -> None:
    text = UNIT.read_text().replace("[Service]\n", f"[Service]\n{line}\n")
    _, complaint = _verify(systemd_analyze, _installed_copy(tmp_path, text))
    assert "supervisor.service:" in complaint


def test_exposure_of_the_unit_is_at_most_1_5(systemd_analyze: str) -> None:
    ended = subprocess.run(
        [
            systemd_analyze,
            "security",
            "--offline=yes",
            "--no-pager",
            f"--threshold={EXPOSURE_MAX_TENTHS}",
            str(UNIT),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout


def _settings() -> list[tuple[str, str]]:
    lines = UNIT.read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line and line[0] not in "#[")
    return [(key, value) for key, value in pairs]


def _setting(key: str) -> str:
    (value,) = (value for name, value in _settings() if name == key)
    return value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("WatchdogSec", "30"),
        ("WatchdogSignal", "SIGABRT"),
        ("Restart", "on-failure"),
        ("KillMode", "mixed"),
        ("StateDirectory", "supervisor"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("LimitCORE", "0"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
    ],
)
def test_unit_sets_what_the_daemon_counts_on(key: str, value: str) -> None:
    assert _setting(key) == value


def test_unit_runs_the_daemon_on_a_config_with_an_absolute_path() -> None:
    command, *arguments = _setting("ExecStart").split()
    assert Path(command).is_absolute()
    assert arguments == ["--config", "/etc/supervisor/config.toml", "run"]


def test_unit_does_not_restart_what_a_restart_cannot_mend() -> None:
    assert set(_setting("RestartPreventExitStatus").split()) == {"64", "78"}
    assert "SuccessExitStatus" not in dict(_settings())


def test_unit_waits_longer_than_the_daemon_drains() -> None:
    assert int(_setting("TimeoutStopSec")) > GRACE_S


def test_unit_leaves_the_network_and_proc_stat_open() -> None:
    keys = dict(_settings())
    assert "PrivateNetwork" not in keys
    assert "IPAddressDeny" not in keys
    assert {"AF_INET", "AF_INET6"} <= set(keys["RestrictAddressFamilies"].split())
    # prometheus-client reads the boot time there, and gives no process_* series without it.
    assert keys["ProcSubset"] == "all"


#: plistlib checks the syntax only. The types are those of launchd.plist(5) in Apple's published
#: sources (read 2026-11); ProcessType is younger than that page, and is a string.
KEY_TYPES: dict[str, type] = {
    "Label": str,
    "UserName": str,
    "ProgramArguments": list,
    "WorkingDirectory": str,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "StandardOutPath": str,
    "StandardErrorPath": str,
    "ProcessType": str,
    "Umask": int,
    "SoftResourceLimits": dict,
    "HardResourceLimits": dict,
}


@pytest.fixture(scope="module")
def plist() -> dict[str, object]:
    with PLIST.open("rb") as file:
        parsed: dict[str, object] = plistlib.load(file)
    return parsed


def _texts(value: object) -> list[str]:
    assert isinstance(value, list)
    assert all(isinstance(item, str) for item in value)
    return value


def test_each_key_of_the_plist_is_known_and_of_its_type(plist: dict[str, object]) -> None:
    # By exact type: a bool passes for an int otherwise.
    assert {key: type(value) for key, value in plist.items()} == KEY_TYPES


def test_values_inside_the_plists_dictionaries_are_of_their_types(
    plist: dict[str, object],
) -> None:
    types = {"EnvironmentVariables": str, "SoftResourceLimits": int, "HardResourceLimits": int}
    for key, wanted in types.items():
        values = plist[key]
        assert isinstance(values, dict)
        assert {type(value) for value in values.values()} == {wanted}


def test_plist_is_named_after_its_label(plist: dict[str, object]) -> None:
    assert plist["Label"] == PLIST.stem


def test_plist_runs_the_daemon_kept_awake_by_caffeinate(plist: dict[str, object]) -> None:
    caffeinate, flags, command, *arguments = _texts(plist["ProgramArguments"])
    assert (caffeinate, flags) == ("/usr/bin/caffeinate", "-is")
    assert Path(command).name == "supervisor"
    assert arguments[0::2] == ["--config", "run"]


def test_requested_stop_stays_stopped_under_launchd(plist: dict[str, object]) -> None:
    assert plist["KeepAlive"] == {"SuccessfulExit": False}
    assert plist["RunAtLoad"] is True


def test_launchd_waits_longer_than_the_daemon_drains(plist: dict[str, object]) -> None:
    assert isinstance(plist["ExitTimeOut"], int)
    assert plist["ExitTimeOut"] > GRACE_S


def test_every_path_in_the_plist_is_absolute(plist: dict[str, object]) -> None:
    caffeinate, _, command, _, config, _ = _texts(plist["ProgramArguments"])
    keys = ("WorkingDirectory", "StandardOutPath", "StandardErrorPath")
    for path in (caffeinate, command, config, *(str(plist[key]) for key in keys)):
        assert path.startswith("/")
        assert not set(path) & set("~$")


def test_plist_keeps_files_private_and_cores_off(plist: dict[str, object]) -> None:
    assert plist["Umask"] == 0o077
    # Core alone: NumberOfFiles of a LaunchDaemon would set the whole machine's limit.
    assert plist["SoftResourceLimits"] == plist["HardResourceLimits"] == {"Core": 0}
