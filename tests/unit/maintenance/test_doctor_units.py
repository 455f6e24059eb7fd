"""Installed units that have drifted from the shipped ones, each key with its reason."""

from __future__ import annotations

import os
import plistlib
import pwd
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.maintenance.doctor_site import Finding
from supervisor.maintenance.doctor_units import UnitNeeds, examine_units

ROOT = Path(__file__).resolve().parents[3]
NEEDS = UnitNeeds(
    config=Path("/etc/supervisor/config.toml"),
    grace_s=30.0,
    loop_block_abort_s=20.0,
    rss_max_mb=768,
)
KEY = msgspec.structs.replace(NEEDS, keys=("SOME_API_KEY",))


class Machine:
    """A tree of files with an installed unit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unit = self.write(
            "etc/systemd/system/supervisor.service",
            (ROOT / "deploy/systemd/supervisor.service").read_text(),
        )
        self.write("opt/acp-supervisor/bin/supervisor", "#!/bin/sh\n").chmod(0o755)

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def edit(self, before: str, after: str) -> None:
        text = self.unit.read_text()
        assert f"\n{before}\n" in text
        self.unit.write_text(text.replace(f"\n{before}\n", f"\n{after}\n"))

    def drop_in(self, *lines: str) -> None:
        text = "\n".join(["[Service]", *lines])
        self.write("etc/systemd/system/supervisor.service.d/override.conf", text)

    def findings(self, needs: UnitNeeds = NEEDS) -> list[Finding]:
        return list(examine_units(needs, self.root))

    def only(self, needs: UnitNeeds = NEEDS) -> Finding:
        (found,) = self.findings(needs)
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_shipped_unit_is_no_finding(machine: Machine) -> None:
    assert machine.findings() == []


@pytest.mark.parametrize(
    ("before", "after", "what", "line"),
    [
        ("Type=notify", "Type=exec", "before recovery is done", "Type=notify"),
        ("Restart=on-failure", "Restart=always", "no requested stop", "Restart=on-failure"),
        (
            "RestartPreventExitStatus=64 78",
            "RestartPreventExitStatus=64",
            "which no restart mends",
            "RestartPreventExitStatus=64 78",
        ),
        ("TimeoutStopSec=45", "TimeoutStopSec=20s", "kills it 20 s", "TimeoutStopSec=45"),
        ("WatchdogSec=30", "WatchdogSec=10", "a watchdog of 10 s", "WatchdogSec=30"),
        ("WatchdogSec=30", "", "has no watchdog", "WatchdogSec=30"),
        ("KillMode=mixed", "", "KillMode=control-group", "KillMode=mixed"),
        ("MemoryMax=1G", "MemoryMax=512M", "is killed at 512 MB", "MemoryMax=1024M"),
    ],
)
def test_a_key_that_has_drifted_is_found_with_its_line(
    machine: Machine, before: str, after: str, what: str, line: str
) -> None:
    machine.edit(before, after)
    found = machine.only()
    assert found.area == f"unit {machine.unit}"
    assert what in found.what
    assert found.fix == (
        f"`systemctl edit supervisor`: under [Service] write {line}, then `systemctl daemon-reload`"
    )


@pytest.mark.parametrize("span", ["1min 5s", "infinity", "46000ms", "2m"])
def test_spans_are_read_as_systemd_reads_them(machine: Machine, span: str) -> None:
    machine.edit("TimeoutStopSec=45", f"TimeoutStopSec={span}")
    assert machine.findings() == []


def test_a_grace_that_was_raised_asks_for_a_longer_timeout(machine: Machine) -> None:
    found = machine.only(msgspec.structs.replace(NEEDS, grace_s=120.0))
    assert "within grace_s = 120" in found.what
    assert "TimeoutStopSec=135" in found.fix


def test_a_drop_in_is_read_after_its_unit(machine: Machine) -> None:
    machine.edit("TimeoutStopSec=45", "TimeoutStopSec=5")
    machine.drop_in("TimeoutStopSec=60")
    assert machine.findings() == []
    machine.drop_in("TimeoutStopSec=60", "Restart=", "Restart=no")
    assert "Restart=no" in machine.only().what


def test_a_program_that_is_gone_is_found(machine: Machine) -> None:
    (machine.root / "opt/acp-supervisor/bin/supervisor").unlink()
    assert "which is no program here" in machine.only().what


def test_a_unit_of_another_config_or_another_program_is_left_alone(machine: Machine) -> None:
    machine.edit("Restart=on-failure", "Restart=always")
    other = msgspec.structs.replace(NEEDS, config=Path("/home/me/config.toml"))
    assert machine.findings(other) == []
    machine.write(
        "etc/systemd/system/supervisord.service", "[Service]\nExecStart=/usr/bin/supervisord\n"
    )
    assert len(machine.findings()) == 1


def test_a_unit_without_a_config_means_the_one_in_its_folder(machine: Machine) -> None:
    machine.drop_in("ExecStart=", "ExecStart=/opt/acp-supervisor/bin/supervisor run", "Type=exec")
    here = msgspec.structs.replace(NEEDS, config=Path("/var/lib/supervisor/config.toml"))
    assert "Type=exec" in machine.only(here).what
    assert machine.findings() == []


# --- keys


def test_a_key_that_the_service_is_not_given_is_found(machine: Machine) -> None:
    assert "gives the daemon no $SOME_API_KEY" in machine.only(KEY).what
    machine.write("etc/supervisor/environment", "SOME_API_KEY=x\n", 0o600)
    assert machine.findings(KEY) == []
    machine.drop_in("EnvironmentFile=", 'Environment="SOME_API_KEY=x" B=c')
    assert machine.findings(KEY) == []


def test_keys_that_others_can_read_are_found(machine: Machine) -> None:
    file = machine.write("etc/supervisor/environment", "SOME_API_KEY=x\n", 0o644)
    found = machine.only(KEY)
    assert (found.area, found.fix) == (f"file {file}", f"`chmod 0600 {file}`")


def test_a_file_of_keys_that_has_to_be_there_and_is_not_is_found(machine: Machine) -> None:
    machine.drop_in("EnvironmentFile=", "EnvironmentFile=/etc/supervisor/gone")
    assert "it does not start" in machine.only().what


# --- launchd


def install(machine: Machine, **changes: object) -> UnitNeeds:
    """Install the shipped job with changes; a value of None takes a key out."""
    job: dict[str, Any] = plistlib.loads(
        (ROOT / "deploy/launchd/com.acp.supervisor.plist").read_bytes()
    )
    job |= changes
    job = {key: value for key, value in job.items() if value is not None}
    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    path = machine.root / home.relative_to("/") / "Library/LaunchAgents/ours.plist"
    path.parent.mkdir(parents=True)
    path.write_bytes(plistlib.dumps(job))
    path.chmod(0o644)
    config = Path("/Users/YOU/acp-supervisor/config.toml")
    return msgspec.structs.replace(NEEDS, config=config)


def test_the_shipped_job_is_no_finding(machine: Machine) -> None:
    assert machine.findings(install(machine)) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"KeepAlive": True}, "a requested stop is undone"),
        ({"ExitTimeOut": None}, "kills it 20 s after a stop"),
        ({"ProcessType": "Background"}, "are slowed down"),
    ],
)
def test_a_key_of_the_job_that_has_drifted_is_found(
    machine: Machine, changes: dict[str, object], what: str
) -> None:
    assert what in machine.only(install(machine, **changes)).what


def test_keys_in_a_job_that_others_can_read_are_found(machine: Machine) -> None:
    needs = install(machine, EnvironmentVariables={"SOME_API_KEY": "x"})
    found = machine.only(msgspec.structs.replace(needs, keys=("SOME_API_KEY",)))
    assert "others can read the keys in it" in found.what


def test_a_job_without_a_key_that_is_needed_is_found(machine: Machine) -> None:
    needs = msgspec.structs.replace(install(machine), keys=("SOME_API_KEY",))
    assert "gives the daemon no $SOME_API_KEY" in machine.only(needs).what
