"""A store that can't be used never leads to a call, and is left as it was found."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from tests.e2e.billing_server import BillingServer
from tests.e2e.daemon_process import Installation, Tables, wait_until

EXIT_RESTART = 75
EXIT_CONFIG = 78


def one_call(billing: BillingServer) -> Tables:
    return {
        "providers": {"paid": billing.provider()},
        "worker": {"agent": {"run": "agents:calls_once", "model": "paid/model", "every_s": 0.1}},
    }


def run_once(site: Installation, billing: BillingServer) -> None:
    """Leave a store with a little history behind."""
    site.configure(one_call(billing))
    assert site.supervisor("once", "agent").returncode == 0
    assert site.outcomes("agent") == ["ok"]


def check_refused(site: Installation, billing: BillingServer, *words: str) -> None:
    """Assert that the daemon does not start on this store, says why, and changes nothing."""
    before = site.store.read_bytes()
    calls = len(billing.bills())
    daemon = site.start()
    assert daemon.wait() == EXIT_CONFIG
    for word in (str(site.store), *words):
        assert word in daemon.said()
    assert "Traceback" not in daemon.said()
    assert site.store.read_bytes() == before
    assert len(billing.bills()) == calls


def test_store_of_a_newer_version_is_refused_and_left_alone(
    installation: Installation, billing: BillingServer
) -> None:
    run_once(installation, billing)
    connection = sqlite3.connect(installation.store)
    with connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'future', 'x', 0)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    check_refused(installation, billing, "9999", "newer")
    assert installation.number("SELECT count(*) FROM ticks") == 1


def test_empty_store_is_refused_and_left_alone(
    installation: Installation, billing: BillingServer
) -> None:
    run_once(installation, billing)
    installation.store.write_bytes(b"")
    check_refused(installation, billing, "empty")


@pytest.mark.parametrize("text", [b"garbage" * 10_000, b"SQLite format 3\0" + b"\xff" * 8_000])
def test_store_that_is_no_database_is_refused_and_left_alone(
    installation: Installation, billing: BillingServer, text: bytes
) -> None:
    run_once(installation, billing)
    installation.store.write_bytes(text)
    check_refused(installation, billing, "damaged")


def test_database_of_somebody_else_is_refused_and_left_alone(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing))
    installation.state_dir.mkdir()
    connection = sqlite3.connect(installation.store)
    with connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    check_refused(installation, billing, "not one of the supervisor's")


def test_store_that_is_gone_while_its_log_is_there_is_refused(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing))
    daemon = installation.start_ready()
    wait_until(lambda: "ok" in installation.outcomes("agent"), what="a call was made")
    daemon.kill_9()
    calls = len(billing.bills())
    installation.store.rename(installation.folder / "elsewhere.db")
    second = installation.start()
    assert second.wait() == EXIT_CONFIG
    assert "gone" in second.said()
    assert len(billing.bills()) == calls
    assert not installation.store.exists()


def test_store_that_is_moved_under_a_daemon_lets_no_call_through_until_it_is_back(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing))
    daemon = installation.start_ready()
    wait_until(lambda: "ok" in installation.outcomes("agent"), what="a call was made")
    aside = installation.folder / "aside.db"
    installation.store.rename(aside)
    wait_until(lambda: not daemon.is_ready(), what="the daemon says that it can't write")
    calls = len(billing.bills())
    time.sleep(1.0)
    assert len(billing.bills()) == calls
    aside.rename(installation.store)
    wait_until(lambda: len(billing.bills()) > calls, what="work goes on")
    assert daemon.stop() == 0
    assert billing.billed_micro_usd() <= installation.settled_today()
    installation.check_audit()


def test_store_that_was_deleted_is_not_begun_anew_before_a_person_says_so(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing))
    daemon = installation.start_ready()
    wait_until(lambda: "ok" in installation.outcomes("agent"), what="a call was made")
    heartbeat = installation.store.with_name("heartbeat.json")
    assert daemon.stop() == 0
    calls = len(billing.bills())
    for file in installation.store.parent.glob("supervisor.db*"):
        file.unlink()
    for _ in range(2):  # the second time there is a store again, in which nobody has lived
        second = installation.start()
        assert second.wait() == EXIT_CONFIG
        assert f"is a new one, and {heartbeat} knows" in second.said()
    assert len(billing.bills()) == calls
    heartbeat.unlink()
    installation.start_ready()
    wait_until(lambda: len(billing.bills()) > calls, what="work goes on")


def test_state_directory_that_is_not_writable_is_refused_in_clear_words(
    installation: Installation, billing: BillingServer
) -> None:
    prefix: list[str] = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            reason = "root may write everywhere, and there is no setpriv to take that away"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        prefix = [setpriv, "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]
    tables = one_call(billing)
    locked: Path = installation.folder / "locked"
    locked.mkdir(mode=0o500)
    installation.configure({**tables, "supervisor": {"state_dir": "locked/var"}})
    daemon = installation.start(prefix=prefix)
    assert daemon.wait() == EXIT_RESTART
    assert str(locked / "var") in daemon.said()
    assert "writable" in daemon.said()
    assert "Traceback" not in daemon.said()
    assert billing.bills() == []


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can set it from outside")
def test_full_disk_makes_no_call_and_work_goes_on_when_there_is_room(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing))
    daemon = installation.start_ready()
    wait_until(lambda: "ok" in installation.outcomes("agent"), what="a call was made")
    log = installation.store.with_name("supervisor.db-wal")
    # A file that may not grow is what a full disk is to its writer.
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, -1))
    wait_until(lambda: not daemon.is_ready(), what="the daemon says that it can't write")
    calls = len(billing.bills())
    time.sleep(1.0)
    assert len(billing.bills()) == calls
    assert daemon.get("/healthz").status_code == 200
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (-1, -1))
    wait_until(lambda: len(billing.bills()) > calls, what="work goes on")
    wait_until(daemon.is_ready, what="the daemon is ready again")
    assert daemon.stop() == 0
    assert billing.billed_micro_usd() <= installation.settled_today()
    assert None not in installation.outcomes("agent")
    assert installation.events("worker_crashed") == []
    installation.check_audit()


def test_locked_store_makes_no_call_and_work_goes_on_when_it_is_free(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing))
    daemon = installation.start_ready()
    wait_until(lambda: "ok" in installation.outcomes("agent"), what="a call was made")
    with installation.locked():
        time.sleep(0.3)
        calls = len(billing.bills())
        assert daemon.get("/healthz").status_code == 200
        # The store's own patience is 5 s; then the daemon says that it can't write.
        assert daemon.get("/readyz").status_code == 503
        wait_until(lambda: installation.log_lines("heartbeat_not_stored"), what="the log says so")
        assert len(billing.bills()) == calls
    wait_until(lambda: len(billing.bills()) > calls, what="work goes on")
    wait_until(daemon.is_ready, what="the daemon is ready again")
    assert installation.events("worker_crashed") == []
    assert daemon.stop() == 0
    assert billing.billed_micro_usd() <= installation.settled_today()
    installation.check_audit()
