"""How the daemon ends where it can't begin: its exit code, and words that help."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.e2e.daemon_process import Installation, Tables, wait_until

WORKER = {"run": "agents:counts", "every_s": 3600.0}


def test_second_daemon_exits_73_with_the_pid_of_the_first(installation: Installation) -> None:
    installation.configure({"worker": {"one": WORKER}})
    first = installation.start_ready()
    second = installation.start()
    assert second.wait() == 73
    assert str(first.pid) in second.said()
    assert first.is_ready()
    assert first.stop() == 0


def test_of_daemons_that_start_at_once_one_runs_and_the_others_exit_73(
    installation: Installation,
) -> None:
    installation.configure({"worker": {"one": WORKER}})
    daemons = [installation.start() for _ in range(4)]
    wait_until(lambda: sum(daemon.is_running for daemon in daemons) == 1, what="one is left")
    (winner,) = [daemon for daemon in daemons if daemon.is_running]
    winner.wait_until_ready()
    assert [daemon.wait() for daemon in daemons if daemon is not winner] == [73] * 3
    assert winner.stop() == 0
    assert installation.outcomes("one") == ["ok"]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"spend": {"daily_cap": 1.0}}, ["spend.daily_cap", "daily_cap_usd"]),
        ({"spend": {"daily_cap_usd": -1.0}}, ["spend.daily_cap_usd", "-1"]),
        ({"spend": {"daily_cap_usd": "1.00"}}, ["spend.daily_cap_usd", "'1.00'"]),
        ({"session": {"window": "hourlyy"}}, ["session.window", "hourlyy", "hourly"]),
        ({"worker": {"one": {**WORKER, "run": "nowhere:run"}}}, ["worker.one.run", "nowhere"]),
        ({"worker": {"one": {**WORKER, "run": "agents:nothing"}}}, ["worker.one.run", "nothing"]),
        ({"worker": {"one": {**WORKER, "model": "paid/gpt"}}}, ["worker.one.model", "paid/gpt"]),
        ({"http": {"listen": "0.0.0.0:0"}}, ["http.listen", "SUPERVISOR_TOKEN"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_bad_config_exits_78_with_path_value_and_cure_before_anything_starts(
    installation: Installation, tables: Tables, words: list[str]
) -> None:
    installation.configure(tables)
    daemon = installation.start()
    assert daemon.wait() == 78
    for word in words:
        assert word in daemon.said()
    assert "Traceback" not in daemon.said()
    assert not (installation.state_dir / "heartbeat.json").exists()


def test_config_without_a_cap_exits_78_and_says_what_to_write(installation: Installation) -> None:
    installation.config.write_text("[spend]\non_cap = 'wait'\n")
    daemon = installation.start()
    assert daemon.wait() == 78
    assert "daily_cap_usd = 1.00" in daemon.said()


def test_two_workers_of_one_name_exit_78(installation: Installation) -> None:
    worker = "[worker.one]\nrun = 'agents:counts'\nevery_s = 1.0\n"
    installation.config.write_text("[spend]\ndaily_cap_usd = 1.0\n" + worker + worker)
    daemon = installation.start()
    assert daemon.wait() == 78
    assert "[worker." in daemon.said()


def test_missing_config_exits_78_and_names_the_file(installation: Installation) -> None:
    daemon = installation.start()
    assert daemon.wait() == 78
    assert str(installation.config) in daemon.said()


def test_port_in_use_exits_78_and_leaves_what_uses_it(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        installation.configure({"http": {"listen": listen}, "worker": {"one": WORKER}})
        daemon = installation.start()
        assert daemon.wait() == 78
        assert listen in daemon.said()
        assert installation.outcomes("one") == []


@pytest.mark.parametrize("words", [["runn"], ["run", "--fast"], ["once"], ["once", "nobody"], []])
def test_usage_error_exits_64(installation: Installation, words: list[str]) -> None:
    installation.configure({"worker": {"one": WORKER}})
    ended = installation.supervisor(*words)
    assert ended.returncode == 64, ended.stderr
    assert ended.stderr.startswith("error[")
    assert "Traceback" not in ended.stderr


def test_error_is_json_where_json_is_asked_for(installation: Installation) -> None:
    installation.configure({"session": {"window": "hourlyy"}})
    ended = installation.supervisor("--json", "check")
    assert ended.returncode == 78
    assert set(json.loads(ended.stderr)["error"]) == {"code", "message", "fix"}


def test_check_says_yes_to_a_good_config_and_starts_nothing(installation: Installation) -> None:
    installation.configure({"worker": {"one": WORKER}})
    assert installation.supervisor("check").returncode == 0
    assert installation.outcomes("one") == []


def test_once_runs_one_tick_and_exits(installation: Installation) -> None:
    installation.configure({"worker": {"one": WORKER, "two": WORKER}})
    for number in (1, 2):
        ended = installation.supervisor("once", "one")
        assert ended.returncode == 0, ended.stderr
        assert installation.outcomes("one") == ["ok"] * number
    assert installation.outcomes("two") == []
    assert installation.rows("SELECT state FROM workers WHERE name = 'one'") == [('{"count":2}',)]
    installation.check_audit()


def test_once_whose_worker_fails_exits_1(installation: Installation) -> None:
    installation.configure({"worker": {"one": {**WORKER, "run": "agents:raises"}}})
    ended = installation.supervisor("once", "one")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "one: failed: a bug of this worker"
    assert installation.outcomes("one") == ["failed"]


def test_once_under_a_kill_is_skipped_and_exits_0(installation: Installation) -> None:
    installation.configure({"worker": {"one": WORKER}})
    assert installation.supervisor("kill", "--system", "--why", "a test").returncode == 0
    ended = installation.supervisor("once", "one")
    assert ended.returncode == 0
    assert "one: skipped: kill switch system: engaged by" in ended.stderr.splitlines()[-1]
    assert installation.outcomes("one") == ["skipped"]


def test_once_under_a_stop_file_does_nothing_and_exits_0(installation: Installation) -> None:
    installation.configure({"worker": {"one": WORKER}})
    assert installation.supervisor("stop").returncode == 0
    ended = installation.supervisor("once", "one")
    assert ended.returncode == 0
    assert "stop --clear" in ended.stdout + ended.stderr
    assert installation.outcomes("one") == []


def test_once_beside_a_daemon_exits_73(installation: Installation) -> None:
    installation.configure({"worker": {"one": WORKER}})
    daemon = installation.start_ready()
    ended = installation.supervisor("once", "one")
    assert ended.returncode == 73
    assert str(daemon.pid) in ended.stderr
    assert daemon.stop() == 0


def test_state_directory_behind_a_file_is_refused_in_clear_words(
    installation: Installation,
) -> None:
    occupied: Path = installation.state_dir
    occupied.write_text("not a directory")
    installation.configure({"worker": {"one": WORKER}})
    daemon = installation.start()
    assert daemon.wait() == 75
    assert str(occupied) in daemon.said()
    assert "state_dir" in daemon.said()
    assert "Traceback" not in daemon.said()
    assert occupied.read_text() == "not a directory"
