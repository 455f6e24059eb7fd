"""Faults of the disk: full, read-only, locked, torn, decayed. Never a call without a hold."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from supervisor.errors import StoreUnavailable
from supervisor.storage.open import open_database
from tests.e2e.billing_server import BillingServer
from tests.e2e.daemon_process import Installation, RunningDaemon, Tables, wait_until
from tests.e2e.fault_injection import (
    check_degraded,
    check_well,
    flip_bytes,
    overwrite,
    root_page,
    small_disk,
)
from tests.e2e.ping_receiver import PingReceiver, receiving_pings

EXIT_RESTART = 75
EXIT_CONFIG = 78
#: Of the log of SQLite: https://www.sqlite.org/fileformat2.html#walformat (read 2026-11-21).
WAL_HEADER, FRAME_HEADER, PAGE = 32, 24, 4_096
#: Longer than the store waits for a lock, so that more than one write is given up.
LOCKED_S = 12.0


@pytest.fixture
def pings() -> Iterator[PingReceiver]:
    with receiving_pings() as receiver:
        yield receiver


def calling(billing: BillingServer, pings: PingReceiver) -> Tables:
    return {
        "supervisor": {"heartbeat_s": 0.3, "heartbeat_ping_url": pings.url},
        "spend": {"daily_cap_usd": 100.0},
        "providers": {"paid": billing.provider()},
        "worker": {"agent": {"run": "agents:calls_once", "model": "paid/model", "every_s": 0.05}},
    }


def start_calling(site: Installation, billing: BillingServer, pings: PingReceiver) -> RunningDaemon:
    """Start a daemon that makes calls, and wait for the first."""
    site.configure(calling(billing, pings))
    daemon = site.start_ready()
    wait_until(lambda: "ok" in site.outcomes("agent"), what="a call was made")
    wait_until(lambda: pings.last() == "", what="the ping says that all is well")
    return daemon


def check_no_call(billing: BillingServer, *, for_s: float = 1.0) -> int:
    """Assert that nothing is billed for a while, and return how many calls were until now."""
    calls = len(billing.bills())
    time.sleep(for_s)
    assert len(billing.bills()) == calls
    return calls


def check_books(site: Installation, billing: BillingServer) -> None:
    """Assert that every cent of the bill is in the books, and that no tick is left open."""
    assert billing.billed_micro_usd() <= site.settled_today()
    assert None not in site.outcomes("agent")
    assert site.events("worker_crashed") == []
    site.check_audit()


def committed(site: Installation) -> tuple[int, int]:
    """Return how many events there are and what is settled."""
    return site.number("SELECT count(*) FROM events"), site.settled_today()


# --- while it runs


def test_full_disk_makes_no_call_says_so_everywhere_and_ends_by_itself(
    installation: Installation, billing: BillingServer, pings: PingReceiver
) -> None:
    with small_disk(installation.state_dir) as disk:
        daemon = start_calling(installation, billing, pings)
        disk.fill()
        check_degraded(daemon, pings)
        assert "disk is full" in daemon.said()
        calls = check_no_call(billing)
        before = committed(installation)
        disk.empty()
        wait_until(lambda: len(billing.bills()) > calls, what="work goes on")
        check_well(installation, daemon, pings)
        assert daemon.stop() == 0
        assert committed(installation) > before
        check_books(installation, billing)


def test_stop_reaches_a_daemon_on_a_full_disk(
    installation: Installation, billing: BillingServer, pings: PingReceiver
) -> None:
    with small_disk(installation.state_dir) as disk:
        daemon = start_calling(installation, billing, pings)
        disk.fill()
        check_degraded(daemon, pings)
        calls = check_no_call(billing, for_s=0.3)
        assert daemon.stop() == 0
        assert len(billing.bills()) == calls
        disk.empty()
        again = installation.start_ready()
        wait_until(lambda: len(billing.bills()) > calls, what="work goes on after a start")
        assert again.stop() == 0
        check_books(installation, billing)


def test_directory_that_turns_read_only_is_told_and_no_start_is_made_on_it(
    installation: Installation, billing: BillingServer, pings: PingReceiver
) -> None:
    with small_disk(installation.state_dir) as disk:
        daemon = start_calling(installation, billing, pings)
        with disk.read_only():
            # The store is open, and goes on; the heartbeat's file can't be replaced any more.
            wait_until(lambda: pings.last() == "/fail", what="the ping says that it fails")
            assert "heartbeat" in pings.failures()[-1]
            status = daemon.get("/status").json()
            assert status["health"] == "degraded"
            assert any("Read-only" in problem["what"] for problem in status["problems"])
            assert daemon.stop() == 0
            calls = len(billing.bills())
            refused = installation.start()
            assert refused.wait() == EXIT_RESTART
            assert str(installation.state_dir) in refused.said()
            assert "Traceback" not in refused.said()
            assert len(billing.bills()) == calls
        again = installation.start_ready()
        wait_until(lambda: len(billing.bills()) > calls, what="work goes on after a start")
        check_well(installation, again, pings)
        assert again.stop() == 0
        check_books(installation, billing)


def test_lock_of_another_process_makes_no_call_and_is_waited_out(
    installation: Installation, billing: BillingServer, pings: PingReceiver
) -> None:
    daemon = start_calling(installation, billing, pings)
    with installation.locked():
        began_s = time.monotonic()
        time.sleep(0.2)
        calls = len(billing.bills())
        check_degraded(daemon, pings)
        assert "locked" in daemon.get("/readyz").json()["why"]
        wait_until(lambda: installation.heartbeat()["state"] == "degraded", what="so does the file")
        time.sleep(max(LOCKED_S - (time.monotonic() - began_s), 0.0))
        assert len(billing.bills()) == calls
    wait_until(lambda: len(billing.bills()) > calls, what="work goes on")
    check_well(installation, daemon, pings)
    assert daemon.stop() == 0
    check_books(installation, billing)


def test_pages_that_decay_under_a_running_daemon_make_no_call(
    installation: Installation, billing: BillingServer, pings: PingReceiver
) -> None:
    daemon = start_calling(installation, billing, pings)
    store = sqlite3.connect(installation.store, isolation_level=None, timeout=20)
    offset, size = root_page(installation.store, "accounts")
    # All of it from the log into the file, which is then what everybody reads.
    wait_until(
        lambda: store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0,
        what="the log is in the file",
    )
    flip_bytes(installation.store, offset=offset, length=size)
    store.execute("PRAGMA user_version = 1")  # a commit of somebody: what is remembered is void
    store.close()
    check_degraded(daemon, pings)
    assert "damaged" in daemon.said()
    check_no_call(billing)
    assert daemon.stop() == 0


# --- between two lives


@pytest.fixture
def killed(installation: Installation, billing: BillingServer, pings: PingReceiver) -> Installation:
    """A site with a first life that ended well and a second one that was killed at work."""
    first = start_calling(installation, billing, pings)
    assert first.stop() == 0
    calls = len(billing.bills())
    second = installation.start_ready()
    wait_until(lambda: len(billing.bills()) > calls + 40, what="calls are made")
    ticks = len(installation.outcomes("agent"))
    wait_until(lambda: last_tick(installation) >= ticks, what="it has beaten since")
    second.kill_9()
    return installation


def last_tick(site: Installation) -> int:
    """Return the last tick that the heartbeat knows of."""
    workers = site.heartbeat()["workers"]
    assert isinstance(workers, dict)
    return int(workers["agent"]["last_tick"])


def wal(site: Installation) -> Path:
    return site.store.with_name("supervisor.db-wal")


def check_refused(site: Installation, billing: BillingServer, *words: str) -> None:
    """Assert that no daemon starts on this store, that it says why, and that no call is made."""
    calls = len(billing.bills())
    daemon = site.start()
    assert daemon.wait() == EXIT_CONFIG
    for word in words:
        assert word in daemon.said()
    assert "Traceback" not in daemon.said()
    assert site.supervisor("once", "agent").returncode == EXIT_CONFIG
    assert len(billing.bills()) == calls


def test_half_a_page_at_the_end_of_the_log_is_a_torn_commit_that_nobody_was_told_of(
    killed: Installation, billing: BillingServer
) -> None:
    before = committed(killed)
    with wal(killed).open("ab") as log:
        log.write(b"\xa5" * 2_000)
    assert committed(killed) == before
    calls = len(billing.bills())
    again = killed.start_ready()
    wait_until(lambda: len(billing.bills()) > calls, what="work goes on")
    assert again.stop() == 0
    check_books(killed, billing)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6])
def test_log_that_was_cut_is_not_taken_for_the_whole(
    killed: Installation, billing: BillingServer, part: float
) -> None:
    # What is left is a whole store of an earlier moment, in which later cents were never spent.
    os.truncate(wal(killed), int(wal(killed).stat().st_size * part))
    check_refused(killed, billing, "lost commits", "A damaged store")
    person_clears_it(killed, billing)


@pytest.mark.parametrize("frame", [1, 20])
def test_log_with_flipped_bytes_is_not_taken_for_the_whole(
    killed: Installation, billing: BillingServer, frame: int
) -> None:
    offset = WAL_HEADER + frame * (FRAME_HEADER + PAGE) + FRAME_HEADER + 100
    flip_bytes(wal(killed), offset=offset, length=16)
    check_refused(killed, billing, "lost commits")
    person_clears_it(killed, billing)


def person_clears_it(site: Installation, billing: BillingServer) -> None:
    """Do as the runbook says: look at the caps, then let it go on from what is there."""
    (site.state_dir / "heartbeat.json").unlink()
    calls = len(billing.bills())
    again = site.start_ready()
    wait_until(lambda: len(billing.bills()) > calls, what="work goes on")
    assert again.stop() == 0
    site.check_audit()


@pytest.mark.parametrize(
    "table", ["accounts", "holds", "sessions", "workers", "ticks", "events", "daemons"]
)
def test_flipped_pages_make_no_call_until_the_file_is_put_back(
    installation: Installation, billing: BillingServer, pings: PingReceiver, table: str
) -> None:
    daemon = start_calling(installation, billing, pings)
    assert daemon.stop() == 0
    kept = installation.folder / "kept.db"
    shutil.copy(installation.store, kept)
    offset, size = root_page(installation.store, table)
    flip_bytes(installation.store, offset=offset, length=size)
    calls = len(billing.bills())
    broken = installation.start()
    ends_or_degrades(broken, pings)
    assert "damaged" in broken.said()
    assert "Traceback" not in broken.said()
    broken.kill_9()
    assert len(billing.bills()) == calls

    for leftover in installation.state_dir.glob("supervisor.db*"):
        leftover.unlink()
    shutil.copy(kept, installation.store)
    (installation.state_dir / "heartbeat.json").unlink()
    again = installation.start_ready()
    wait_until(lambda: len(billing.bills()) > calls, what="work goes on")
    assert again.stop() == 0
    check_books(installation, billing)


def ends_or_degrades(daemon: RunningDaemon, pings: PingReceiver) -> None:
    """Wait until it has ended with 78, or says everywhere that it does not work."""
    wait_until(
        lambda: not daemon.is_running or "store_unavailable" in daemon.said(), what="it notices"
    )
    if not daemon.is_running:
        assert daemon.wait() == EXIT_CONFIG
        return
    check_degraded(daemon, pings)


def test_amount_that_decays_inside_a_row_is_found_by_the_audit(
    installation: Installation, billing: BillingServer, pings: PingReceiver
) -> None:
    # SQLite has no checksums in its file: a number that turned into another is read as that.
    daemon = start_calling(installation, billing, pings)
    assert daemon.stop() == 0
    data = installation.store.read_bytes()
    told = json.dumps({"cost": 10_000})[1:-1].replace(" ", "").encode()
    offset = data.rindex(told)
    overwrite(installation.store, offset=offset, data=told.replace(b"10000", b"20000"))
    audited = installation.supervisor("audit")
    assert audited.returncode == 1
    assert "hash" in audited.stdout + audited.stderr


def test_store_that_the_disk_has_no_room_for_is_not_made_by_half(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", megabytes=2) as disk:
        answers = [_made_with_room_for(disk.path, kilobytes) for kilobytes in range(64, 1_600, 64)]
    # From no room at all to enough for the tables, the log of their making, and both at once.
    assert answers[0] == "full"
    assert answers[-1] == "made"
    assert set(answers) == {"full", "made"}


def _made_with_room_for(folder: Path, kilobytes: int) -> str:
    """Return what came of making a store where so much is free; the disk is empty afterwards."""
    free = shutil.disk_usage(folder).free
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * (free - kilobytes * 1024))
    state = folder / "var"
    state.mkdir()
    try:
        anyio.run(_open_and_close, state)
    except StoreUnavailable as error:
        assert "full" in str(error)
        assert list(state.iterdir()) == []
        return "full"
    else:
        ballast.unlink()
        anyio.run(_open_and_close, state)
        return "made"
    finally:
        ballast.unlink(missing_ok=True)
        shutil.rmtree(state)


async def _open_and_close(state: Path) -> None:
    database = await open_database("sqlite", state_dir=state, now_us=1)
    await database.close()
