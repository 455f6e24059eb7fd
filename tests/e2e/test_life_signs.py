"""Signs of life: heartbeat, service manager, metrics, status, and the files that hold them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.billing_server import BillingServer
from tests.e2e.daemon_process import Installation, Tables, wait_until

HEARTBEAT_S = 0.2


def two_workers(billing: BillingServer) -> Tables:
    return {
        "supervisor": {"heartbeat_s": HEARTBEAT_S},
        "providers": {"paid": billing.provider()},
        "worker": {
            "agent": {"run": "agents:calls_once", "model": "paid/model", "every_s": 0.1},
            "other": {"run": "agents:returns_noop", "every_s": 0.1},
        },
    }


def test_heartbeat_is_fresh_and_has_its_fields(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(two_workers(billing))
    daemon = installation.start_ready()
    wait_until(lambda: installation.outcomes("agent")[2:], what="the agent ticks")
    first = wait_until(installation.heartbeat, what="a heartbeat")
    wait_until(lambda: workers(installation)["agent"]["outcome"] == "ok", what="it tells of it")
    beat = installation.heartbeat()
    assert set(beat) == {"at", "pid", "boot_id", "state", "workers"}
    assert beat["pid"] == daemon.pid
    assert [beat["boot_id"]] == [row[0] for row in installation.rows("SELECT boot_id FROM daemons")]
    assert beat["state"] == "running"
    assert set(workers(installation)) == {"agent", "other"}
    fields = {"last_progress_at", "last_tick", "outcome", "session_id"}
    assert all(set(worker) == fields for worker in workers(installation).values())
    assert workers(installation)["other"]["outcome"] == "noop"
    wait_until(lambda: installation.heartbeat()["at"] != first["at"], what="it beats on")
    age_s = (datetime.now(UTC) - datetime.fromisoformat(str(beat["at"]))).total_seconds()
    assert -1 <= age_s < 10
    assert daemon.stop() == 0
    assert installation.heartbeat()["state"] == "stopped"


def workers(site: Installation) -> dict[str, dict[str, object]]:
    found = site.heartbeat()["workers"]
    assert isinstance(found, dict)
    return found


def test_files_are_for_their_owner_alone(
    installation: Installation, billing: BillingServer
) -> None:
    tables = two_workers(billing)
    caller = {
        "run": "agents:calls_until_refused",
        "model": "paid/model",
        "every_s": 3600.0,
        "options": {"callers": 1},
    }
    installation.configure({**tables, "worker": {"caller": caller}})
    daemon = installation.start_ready()
    wait_until(lambda: installation.outcomes("caller") == ["ok"], what="a file was written")
    wait_until((installation.state_dir / "heartbeat.json").exists, what="a heartbeat")
    assert installation.supervisor("stop").returncode == 0
    assert daemon.wait() == 0
    assert mode(installation.state_dir) == 0o700
    paths = list(installation.state_dir.rglob("*"))
    names = {path.name for path in paths}
    assert {"supervisor.db", "supervisor.jsonl", "supervisor.lock", "STOP"} <= names
    assert {"heartbeat.json", "workers", "refusals-1.json"} <= names
    for path in paths:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, str]]:
    """A socket as systemd's, and what NOTIFY_SOCKET would be."""
    with tempfile.TemporaryDirectory() as folder, notification_socket() as listening:
        if request.param == "path":
            address = f"{folder}/notify"
            listening.bind(address)
        elif os.uname().sysname == "Linux":
            address = f"@supervisor-test-{os.getpid()}"
            listening.bind("\0" + address[1:])
        else:
            pytest.skip("abstract sockets are Linux's")
        yield listening, address


def notification_socket() -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.settimeout(20.0)
    return listening


def test_service_manager_is_told_of_ready_watchdog_and_stopping(
    installation: Installation, billing: BillingServer, manager: tuple[socket.socket, str]
) -> None:
    listening, address = manager
    installation.configure(two_workers(billing))
    daemon = installation.start(environment={"NOTIFY_SOCKET": address})
    heard: list[str] = []
    while heard.count("WATCHDOG=1") < 3 or "READY=1" not in heard:
        heard += listening.recv(4096).decode().split("\n")
    assert daemon.is_ready()
    assert "STOPPING=1" not in heard
    assert daemon.stop() == 0
    while "STOPPING=1" not in heard:
        heard += listening.recv(4096).decode().split("\n")
    assert any(word.startswith("STATUS=") for word in heard)
    assert heard.count("READY=1") == 1


def test_service_manager_that_does_not_listen_is_no_trouble(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(two_workers(billing))
    daemon = installation.start(environment={"NOTIFY_SOCKET": "/nowhere/notify"})
    daemon.wait_until_ready()
    assert daemon.stop() == 0


def test_children_of_workers_do_not_inherit_the_notification_socket(
    installation: Installation, tmp_path: Path
) -> None:
    shown = tmp_path / "environment.txt"
    agent = {
        "run": "agents:shows_environment",
        "every_s": 3600.0,
        "options": {"path": str(shown)},
    }
    installation.configure({"worker": {"agent": agent}})
    environment = {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "30000000"}
    daemon = installation.start(environment=environment)
    wait_until(shown.exists, what="the child has shown its environment")
    names = {line.partition("=")[0] for line in shown.read_text().splitlines()}
    assert daemon.stop() == 0
    assert "PATH" in names
    assert "NOTIFY_SOCKET" not in names


def test_promtool_finds_nothing_to_say_about_the_metrics(
    installation: Installation, billing: BillingServer
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        reason = "promtool is not installed (it comes with Prometheus)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    installation.configure(two_workers(billing))
    daemon = installation.start_ready()
    wait_until(lambda: installation.outcomes("agent")[2:], what="there is something to count")
    metrics = daemon.get("/metrics").text
    assert daemon.stop() == 0
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=metrics, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert "supervisor_spend_usd_total" in metrics


def test_status_is_the_same_over_http_and_from_the_command_line(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(two_workers(billing))
    daemon = installation.start_ready()
    wait_until(lambda: installation.outcomes("agent")[2:], what="the agent ticks")
    told = daemon.get("/status").json()
    commanded = installation.supervisor("--json", "status")
    assert commanded.returncode == 0, commanded.stderr
    asked = json.loads(commanded.stdout)
    assert set(asked) == set(told)
    assert asked["daemon"]["pid"] == told["daemon"]["pid"] == daemon.pid
    assert daemon.stop() == 0
    assert installation.supervisor("status").returncode == 3


def test_status_of_a_killed_system_exits_2(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(two_workers(billing))
    daemon = installation.start_ready()
    assert installation.supervisor("kill", "--system", "--why", "a test").returncode == 0
    assert installation.supervisor("status").returncode == 2
    assert daemon.stop() == 0
