"""A restore on real daemons and a server that bills: a day costs at most its cap, come what may."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.e2e.billing_server import CALL_MICRO_USD, BillingServer
from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, Tables, wait_until

CAP_CALLS = 40
CAP_MICRO_USD = CAP_CALLS * CALL_MICRO_USD


def one_call(billing: BillingServer) -> Tables:
    """Return a config whose worker makes a call each tick, many ticks a second."""
    return {
        "spend": {"daily_cap_usd": CAP_MICRO_USD / 1_000_000},
        "providers": {"paid": billing.provider()},
        "worker": {"agent": {"run": "agents:calls_once", "model": "paid/model", "every_s": 0.02}},
    }


def work(site: Installation, billing: BillingServer, calls: int) -> None:
    """Let a daemon work until so many calls were billed in all, and end it as a power cut does."""
    daemon = site.start_ready()
    wait_until(lambda: len(billing.bills()) >= calls, what=f"{calls} calls were billed")
    daemon.kill_9()


def work_to_the_cap(site: Installation) -> None:
    """Let a daemon work until its cap refuses it, and stop it."""
    daemon = site.start_ready()
    wait_until(lambda: site.outcomes("agent")[-1:] == ["skipped"], what="the cap says no")
    assert daemon.stop() == 0


def counted_today(site: Installation) -> int:
    """Return what counts against the daily cap, in micro-USD: settled, or held for a call."""
    return site.number(
        "SELECT settled + held FROM accounts WHERE scope = 'system' AND period = 'day'"
        " AND unit = 'micro_usd'"
    )


def restore(site: Installation, backup: Path, *words: str) -> str:
    done = site.supervisor("restore", str(backup), "--why", "a test", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_day_costs_at_most_its_cap_though_it_is_restored_in_between(
    installation: Installation, billing: BillingServer, tmp_path: Path, measure: Measure
) -> None:
    site, backup = installation, tmp_path / "backup.db"
    site.configure(one_call(billing))
    work(site, billing, 5)
    assert site.supervisor("backup", str(backup)).returncode == 0
    for calls in (12, 18, 24):
        work(site, billing, calls)
        before = counted_today(site)
        assert "could be read and proved" in " ".join(restore(site, backup).split())
        assert counted_today(site) >= before
    work_to_the_cap(site)
    restore(site, backup)
    work_to_the_cap(site)
    billed = billing.billed_micro_usd()
    measure("billed of a day's cap with 4 restores", f"{billed} of {CAP_MICRO_USD} micro-USD")
    assert billed <= CAP_MICRO_USD
    # And it is no phantom refusal: what was in flight at a power cut, 4 times, is all that is lost.
    assert billed >= CAP_MICRO_USD - 4 * 2 * CALL_MICRO_USD
    site.check_audit()


def test_where_the_store_is_lost_nothing_is_spent_until_a_person_has_said_so(
    installation: Installation, billing: BillingServer, tmp_path: Path
) -> None:
    site, backup = installation, tmp_path / "backup.db"
    site.configure(one_call(billing))
    work(site, billing, 5)
    assert site.supervisor("backup", str(backup)).returncode == 0
    work(site, billing, 15)
    for file in site.state_dir.glob("supervisor.db*"):
        file.unlink()
    assert "counts as used up" in " ".join(restore(site, backup).split())
    calls = len(billing.bills())
    daemon = site.start_ready()
    wait_until(lambda: "skipped" in site.outcomes("agent"), what="it is killed")
    released = site.supervisor("release", "--system", "--why", "looked at it")
    assert released.returncode == 0, released.stderr
    wait_until(
        lambda: [r for r in site.rows("SELECT why FROM ticks") if "account" in str(r[0])],
        what="the limits count as used up",
    )
    assert len(billing.bills()) == calls
    assert daemon.stop() == 0
    # The bill says what was spent: the whole of it since the backup, and the rest is free.
    spent_usd = str(billing.billed_micro_usd() / 1_000_000)
    restore(site, backup)  # of a store that can be read: nothing is forgotten
    for file in site.state_dir.glob("supervisor.db*"):
        file.unlink()
    restore(site, backup, "--spent-usd", spent_usd, "--spent-tokens", "0", "--spent-actions", "0")
    assert site.supervisor("release", "--system", "--why", "looked at it").returncode == 0
    work_to_the_cap(site)
    assert calls * CALL_MICRO_USD < billing.billed_micro_usd() <= CAP_MICRO_USD
    site.check_audit()


def test_daemon_starts_after_a_restore_but_not_on_a_file_that_was_put_there_by_hand(
    installation: Installation, billing: BillingServer, tmp_path: Path
) -> None:
    site, backup = installation, tmp_path / "backup.db"
    site.configure(one_call(billing))
    work(site, billing, 5)
    assert site.supervisor("backup", str(backup)).returncode == 0
    daemon = site.start_ready()
    wait_until(lambda: len(billing.bills()) >= 12, what="it spends after the backup")
    assert daemon.stop() == 0
    # The last heartbeat knows ticks that the backup does not.
    assert (site.state_dir / "heartbeat.json").exists()
    assert "could be read and proved" in " ".join(restore(site, backup).split())
    assert not (site.state_dir / "heartbeat.json").exists()
    calls = len(billing.bills())
    daemon = site.start_ready()
    wait_until(lambda: len(billing.bills()) > calls, what="it works after the restore")
    assert daemon.stop() == 0
    for file in site.state_dir.glob("supervisor.db*"):
        file.unlink()
    shutil.copy(backup, site.state_dir / "supervisor.db")
    refused = site.supervisor("run")
    assert "has lost commits" in " ".join(refused.stderr.split())
    assert "has lost commits" in " ".join(site.supervisor("doctor").stdout.split())
    # Nor does the file that was put there prove what was spent.
    assert "counts as used up" in " ".join(restore(site, backup).split())
    calls = len(billing.bills())
    daemon = site.start_ready()
    wait_until(lambda: "skipped" in site.outcomes("agent"), what="it is killed")
    assert daemon.stop() == 0
    assert len(billing.bills()) == calls
    site.check_audit()


def test_restore_is_refused_under_a_running_daemon(
    installation: Installation, billing: BillingServer, tmp_path: Path
) -> None:
    installation.configure(one_call(billing))
    daemon = installation.start_ready()
    backup = tmp_path / "backup.db"
    assert installation.supervisor("backup", str(backup)).returncode == 0
    refused = installation.supervisor("restore", str(backup), "--why", "a test")
    assert refused.returncode == 73
    assert daemon.is_ready()


def test_doctor_finds_nothing_on_a_healthy_daemon_and_says_what_a_sick_one_has(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing))
    daemon = installation.start_ready()
    wait_until(lambda: "ok" in installation.outcomes("agent"), what="it works")
    healthy = installation.supervisor("doctor")
    # Hints are of this machine, and of alerts that it has not.
    told = healthy.stdout.splitlines()
    assert healthy.returncode == 0, healthy.stdout
    assert told[-1].startswith("doctor: nothing found")
    assert all(line.startswith(("hint: ", " ", "doctor: ")) for line in told)
    with installation.locked():
        found = installation.supervisor("doctor")
    assert found.returncode == 1
    assert "is locked by pid" in " ".join(found.stdout.split())
    daemon.kill_9()
    found = installation.supervisor("doctor")
    assert found.returncode == 1
    assert "died without a word" in " ".join(found.stdout.split())
