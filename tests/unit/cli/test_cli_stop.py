"""`stop` writes the STOP file, waits for the daemon, and `stop --clear` undoes it."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from supervisor.cli import stop
from supervisor.lock import Holder, Lock, acquire
from tests.unit.cli.site import Site


class Daemon:
    """Holds the lock until the STOP file is there, as the daemon does."""

    def __init__(self, state_dir: Path) -> None:
        state_dir.mkdir(exist_ok=True)
        self._stop_file = state_dir / "STOP"
        self._lock: Lock = acquire(state_dir)
        self._lock.describe(Holder(pid=4242, boot_id="boot-1", started_at=""))
        self._thread = threading.Thread(target=self._live)

    def start(self) -> None:
        self._thread.start()

    def _live(self) -> None:
        pause = threading.Event()
        while not self._stop_file.exists():
            pause.wait(0.005)
        self._lock.release()

    def join(self) -> None:
        self._thread.join(timeout=10)


def test_stop_file_says_when_who_and_why(site: Site) -> None:
    called = site.call("stop", "--why", "for the\nnight")
    assert (called.code, called.err) == (0, "")
    assert "no daemon is running" in called.out
    assert "`supervisor stop --clear`" in called.out
    text = site.stop_file.read_text()
    assert text.endswith("Z alice: for the night\n")
    assert stat.S_IMODE(site.stop_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(site.state_dir.stat().st_mode) == 0o700


def test_second_stop_leaves_the_first(site: Site) -> None:
    site.call("stop", "--why", "first")
    called = site.call("stop", "--why", "second")
    assert called.code == 0
    assert "is there already" in called.out
    assert "first" in site.stop_file.read_text()


def test_stop_waits_until_the_daemon_has_ended(site: Site) -> None:
    daemon = Daemon(site.state_dir)
    daemon.start()
    called = site.call("stop")
    daemon.join()
    assert called.code == 0
    assert "the daemon with pid 4242 ends now" in called.out
    assert "stopped after" in called.out


def test_json_says_what_happened(site: Site) -> None:
    daemon = Daemon(site.state_dir)
    daemon.start()
    answer = json.loads(site.call("stop", "--why", "x", "--actor", "bob", "--json").out)
    daemon.join()
    assert answer["stop_requested"].endswith("Z bob: x")
    assert (answer["pid"], answer["changed"]) == (4242, True)
    assert answer["ended_after_s"] >= 0


def test_daemon_that_does_not_end_in_time_exits_1_and_names_the_next_step(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "_POLL_S", 0.001)
    site.state_dir.mkdir()
    lock = acquire(site.state_dir)
    lock.describe(Holder(pid=4242, boot_id="boot-1", started_at=""))
    called = site.call("stop", "--wait-s", "0.01")
    lock.release()
    assert called.code == 1
    assert "error[still_running]: daemon with pid 4242: has not ended within 0.01 s" in called.err
    assert "`kill -9 4242`" in called.err


def test_wait_of_0_does_not_wait(site: Site) -> None:
    site.state_dir.mkdir()
    lock = acquire(site.state_dir)
    called = site.call("stop", "--wait-s", "0")
    lock.release()
    assert called.code == 0
    assert "ends now" in called.out


def test_clear_removes_the_file_and_says_if_there_was_none(site: Site) -> None:
    site.call("stop")
    assert site.call("stop", "--clear").out == "removed STOP: the daemon may be started again\n"
    assert not site.stop_file.exists()
    called = site.call("stop", "--clear", "--json")
    assert called.code == 0
    assert json.loads(called.out)["changed"] is False


def test_clear_with_a_reason_is_refused(site: Site) -> None:
    called = site.call("stop", "--clear", "--why", "x")
    assert called.code == 64
    assert not site.state_dir.exists()


def test_stop_works_where_the_config_is_broken(site: Site) -> None:
    site.edit_config("daily_cap_usd = 1.00", "daily_cap_usd = -1.00")
    called = site.call("stop")
    assert called.code == 0
    assert called.err.startswith("warning: ")
    assert site.stop_file.exists()


def test_state_directory_that_can_not_be_made_exits_1(site: Site) -> None:
    site.state_dir.write_text("a file where the folder should be")
    called = site.call("stop")
    assert called.code == 1
    assert called.err.startswith("error[store_unavailable]: state directory ")
