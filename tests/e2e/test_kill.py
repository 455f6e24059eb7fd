"""Every way to stop ends the work in flight, and a kill holds until it is released."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.billing_server import CALL_MICRO_USD, BillingServer
from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, RunningDaemon, Tables, wait_until

#: `kill_latency_s` is 1 s; the rest is a slow machine and the start of a command's interpreter.
LATENCY_MAX_S = 1.0 + 1.5
SHORT_GRACE_S = 0.2

Way = Callable[[Installation, RunningDaemon], None]


def stop_file(site: Installation, _daemon: RunningDaemon) -> None:
    (site.state_dir / "STOP").touch()


def stop_command(site: Installation, _daemon: RunningDaemon) -> None:
    succeed(site, "stop")


def kill_command(site: Installation, _daemon: RunningDaemon) -> None:
    succeed(site, "kill", "--system", "--why", "a test")


def sigterm(_site: Installation, daemon: RunningDaemon) -> None:
    daemon.signal(signal.SIGTERM)


def sigint(_site: Installation, daemon: RunningDaemon) -> None:
    daemon.signal(signal.SIGINT)


def post_kill(_site: Installation, daemon: RunningDaemon) -> None:
    answer = daemon.post("/kill", {"scope": "system", "why": "a test", "command_id": "kill-1"})
    assert answer.status_code == 200, answer.text


def post_stop(_site: Installation, daemon: RunningDaemon) -> None:
    answer = daemon.post("/stop", {"why": "a test"})
    assert answer.status_code == 202, answer.text


def succeed(site: Installation, *words: str) -> None:
    ended = site.supervisor(*words)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def agents(billing: BillingServer, folder: Path, *, every_s: float = 3600.0) -> Tables:
    """Return a config with a worker that awaits a 60 s call, and one that ticks fast."""
    billing.script({"latency_s": 60.0})
    return {
        "supervisor": {"grace_s": SHORT_GRACE_S},
        "providers": {"paid": billing.provider()},
        "worker": {
            "agent": {
                "run": "agents:awaits_call",
                "model": "paid/model",
                "every_s": every_s,
                "options": {"beats": str(folder / "beats.txt")},
            },
            "other": {"run": "agents:counts", "every_s": 0.05},
        },
    }


def start_flying(site: Installation, billing: BillingServer, tables: Tables) -> RunningDaemon:
    """Start the daemon and wait until the long call is in flight."""
    site.configure(tables)
    daemon = site.start_ready()
    wait_until(billing.bills, what="the call is in flight")
    return daemon


def last_beat_s(folder: Path) -> float:
    return float((folder / "beats.txt").read_text().split()[-1])


def wait_for_end(site: Installation, outcome: str = "cancelled") -> None:
    wait_until(lambda: outcome in site.outcomes("agent"), what=f"the tick has ended {outcome}")


@pytest.mark.parametrize(
    ("way", "ends_daemon"),
    [
        (stop_file, True),
        (stop_command, True),
        (post_stop, True),
        (sigterm, True),
        (sigint, True),
        (kill_command, False),
        (post_kill, False),
    ],
)
def test_each_way_to_stop_ends_the_work_of_a_worker_that_awaits_a_long_call(
    installation: Installation,
    billing: BillingServer,
    tmp_path: Path,
    measure: Measure,
    way: Way,
    ends_daemon: bool,
) -> None:
    daemon = start_flying(installation, billing, agents(billing, tmp_path))
    began_s = time.time()
    way(installation, daemon)
    wait_for_end(installation)
    latency_s = last_beat_s(tmp_path) - began_s
    measure(f"{way.__name__} to last side effect", f"{latency_s * 1000:.0f} ms")
    assert latency_s < LATENCY_MAX_S
    assert installation.holds() == [("forfeited", CALL_MICRO_USD)]
    assert installation.number("SELECT count(*) FROM holds WHERE why <> ''") == 1
    assert installation.number(
        "SELECT count(*) FROM ticks WHERE outcome = 'cancelled' AND why <> ''"
    )
    if ends_daemon:
        assert daemon.wait() == 0
    else:
        assert daemon.is_ready()
        assert daemon.stop() == 0
    assert last_beat_s(tmp_path) - began_s < LATENCY_MAX_S
    installation.check_audit()


def test_system_kill_ends_every_call_in_flight_and_holds_nothing_back(
    installation: Installation, billing: BillingServer
) -> None:
    billing.script({"latency_s": 60.0})
    agent = {
        "run": "agents:calls_until_refused",
        "model": "paid/model",
        "every_s": 3600.0,
        "options": {"callers": 32},
    }
    installation.configure({"providers": {"paid": billing.provider()}, "worker": {"agent": agent}})
    daemon = installation.start_ready()
    wait_until(lambda: len(billing.bills()) == 32, what="all calls are in flight")
    kill_command(installation, daemon)
    wait_for_end(installation)
    assert installation.holds() == [("forfeited", CALL_MICRO_USD)] * 32
    assert installation.settled_today() == billing.billed_micro_usd()
    assert daemon.stop() == 0
    installation.check_audit()


def test_system_kill_holds_through_a_restart_until_it_is_released(
    installation: Installation, billing: BillingServer, tmp_path: Path
) -> None:
    first = start_flying(installation, billing, agents(billing, tmp_path, every_s=0.05))
    kill_command(installation, first)
    wait_for_end(installation)
    assert first.stop() == 0
    last_tick = installation.number("SELECT max(number) FROM ticks WHERE worker = 'other'")

    second = installation.start_ready()
    new = "SELECT outcome FROM ticks WHERE worker = 'other' AND number > ? ORDER BY number"
    wait_until(
        lambda: len(installation.rows(new, last_tick)) >= 2, what="the killed worker was skipped"
    )
    assert set(installation.rows(new, last_tick)) == {("skipped",)}
    assert len(billing.bills()) == 1
    assert second.metric("supervisor_kill_engaged", scope="system") == 1
    assert "kill_in_force" in second.said()

    succeed(installation, "release", "--system", "--why", "the test goes on")
    wait_until(lambda: len(billing.bills()) == 2, what="the agent calls again", within_s=5)
    wait_until(lambda: ("ok",) in installation.rows(new, last_tick), what="the other ticks again")
    assert second.stop() == 0
    installation.check_audit()


def test_system_kill_reaches_a_daemon_that_is_not_running(
    installation: Installation, billing: BillingServer, tmp_path: Path
) -> None:
    installation.configure(agents(billing, tmp_path))
    succeed(installation, "kill", "--system", "--why", "before the first start")
    daemon = installation.start_ready()
    wait_until(lambda: installation.outcomes("agent"), what="the agent was looked at")
    assert installation.outcomes("agent") == ["skipped"]
    assert billing.bills() == []
    assert daemon.stop() == 0
    assert installation.start("--exit-if-killed").wait() == 0


@pytest.mark.parametrize("scope", ["worker", "session"])
def test_kill_of_one_worker_leaves_the_other_ticking(
    installation: Installation, billing: BillingServer, tmp_path: Path, scope: str
) -> None:
    daemon = start_flying(installation, billing, agents(billing, tmp_path, every_s=0.05))
    session = installation.rows("SELECT session_id FROM ticks WHERE worker = 'agent'")[0][0]
    named = {"worker": "agent", "session": str(session)}[scope]
    succeed(installation, "kill", f"--{scope}", named, "--why", "a test")
    wait_for_end(installation)
    wait_for_end(installation, "skipped")
    ticks_before = len(installation.outcomes("other"))
    wait_until(
        lambda: len(installation.outcomes("other")) > ticks_before + 5, what="the other ticks on"
    )
    assert "skipped" not in installation.outcomes("other")
    assert len(billing.bills()) == 1
    assert daemon.stop() == 0


def test_kill_command_that_is_repeated_is_one_kill(
    installation: Installation, billing: BillingServer, tmp_path: Path
) -> None:
    daemon = start_flying(installation, billing, agents(billing, tmp_path))
    post_kill(installation, daemon)
    post_kill(installation, daemon)
    body = {"scope": "worker:other", "why": "a test", "command_id": "kill-1"}
    conflict = daemon.post("/kill", body)
    assert conflict.status_code == 409
    assert "scope" in conflict.json()["error"]["message"]
    assert len(installation.events("kill_switch_engaged")) == 1
    assert daemon.stop() == 0


def test_release_over_http_needs_a_token(
    installation: Installation, billing: BillingServer, tmp_path: Path
) -> None:
    daemon = start_flying(installation, billing, agents(billing, tmp_path))
    post_kill(installation, daemon)
    answer = daemon.post("/release", {"scope": "system", "why": "a test"})
    assert answer.status_code == 403
    assert installation.number("SELECT count(*) FROM kill_latches WHERE is_engaged = 1") == 1
    assert daemon.stop() == 0


def test_start_under_a_stop_file_exits_0_and_says_how_to_clear_it(
    installation: Installation,
) -> None:
    installation.configure({"worker": {"other": {"run": "agents:counts", "every_s": 0.05}}})
    succeed(installation, "stop")
    stopped = installation.start()
    assert stopped.wait() == 0
    assert "stop --clear" in stopped.said()
    assert installation.outcomes("other") == []
    succeed(installation, "stop", "--clear")
    assert installation.start_ready().stop() == 0


def test_sigterm_lets_the_tick_in_flight_finish(
    installation: Installation, billing: BillingServer, tmp_path: Path
) -> None:
    tables = {**agents(billing, tmp_path), "supervisor": {"grace_s": 20.0}}
    billing.script({"latency_s": 1.0})
    daemon = start_flying(installation, billing, tables)
    assert daemon.stop() == 0
    assert installation.outcomes("agent") == ["ok"]
    assert installation.holds() == [("settled", CALL_MICRO_USD)]
    installation.check_audit()


def test_stop_file_ends_the_work_while_the_store_is_locked(
    installation: Installation, billing: BillingServer, tmp_path: Path, measure: Measure
) -> None:
    daemon = start_flying(installation, billing, agents(billing, tmp_path))
    with installation.locked():
        time.sleep(0.3)
        began_s = time.time()
        stop_file(installation, daemon)
        wait_until(lambda: time.time() - last_beat_s(tmp_path) > 1.0, what="it is quiet")
    latency_s = last_beat_s(tmp_path) - began_s
    measure("STOP file to last side effect, store locked", f"{latency_s * 1000:.0f} ms")
    assert latency_s < LATENCY_MAX_S
    assert daemon.wait() == 0
    assert installation.outcomes("agent") == ["cancelled"]
    installation.check_audit()


def test_second_sigterm_cancels_at_once(
    installation: Installation, billing: BillingServer, tmp_path: Path, measure: Measure
) -> None:
    tables = {**agents(billing, tmp_path), "supervisor": {"grace_s": 60.0}}
    daemon = start_flying(installation, billing, tables)
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: installation.log_lines("stopping"), what="the daemon drains")
    assert daemon.is_running
    began_s = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    took_s = time.monotonic() - began_s
    measure("second SIGTERM to exit", f"{took_s * 1000:.0f} ms")
    assert took_s < LATENCY_MAX_S
    assert installation.outcomes("agent") == ["cancelled"]
    installation.check_audit()


def test_stop_file_overrules_a_drain(
    installation: Installation, billing: BillingServer, tmp_path: Path
) -> None:
    tables = {**agents(billing, tmp_path), "supervisor": {"grace_s": 60.0}}
    daemon = start_flying(installation, billing, tables)
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: installation.log_lines("stopping"), what="the daemon drains")
    stop_file(installation, daemon)
    assert daemon.wait() == 0
    assert installation.outcomes("agent") == ["cancelled"]


def test_system_kill_reaches_a_worker_that_drains(
    installation: Installation, billing: BillingServer, tmp_path: Path
) -> None:
    tables = {**agents(billing, tmp_path), "supervisor": {"grace_s": 60.0}}
    daemon = start_flying(installation, billing, tables)
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: installation.log_lines("stopping"), what="the daemon drains")
    kill_command(installation, daemon)
    assert daemon.wait() == 0
    assert installation.outcomes("agent") == ["cancelled"]
