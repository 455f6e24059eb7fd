"""`doctor` says all that is wrong and what mends it."""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path

import msgspec
import pytest

from supervisor.governance.drills import Drill, Verdict, begin, finish
from supervisor.lock import acquire
from supervisor.maintenance import doctor_site, doctor_store
from tests.unit.cli.site import Called, Site
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife


class Told(msgspec.Struct, frozen=True):
    healthy: bool
    findings: list[doctor_site.Finding]


def findings(called: Called) -> dict[str, str]:
    """Return what was found, by what was looked at; hints are none of it."""
    told = called.json(Told)
    found = [finding for finding in told.findings if not finding.is_hint]
    assert told.healthy == (not found)
    assert called.code == (1 if found else 0)
    assert all(finding.fix for finding in told.findings)
    return {finding.area: finding.what for finding in found}


def examine(site: Site) -> dict[str, str]:
    return findings(site.call("doctor", "--json"))


def test_before_the_first_start_there_is_nothing_to_mend_but_that(site: Site) -> None:
    found = examine(site)
    assert found == {
        f"state directory {site.state_dir}": "does not exist",
        "store": "there is none yet: no daemon has run here",
    }


def test_a_state_directory_that_is_a_file_is_not_told_to_be_opened_to_all(site: Site) -> None:
    site.edit_config('state_dir = "var"', 'state_dir = "site_agent.py"')
    file = site.folder / "site_agent.py"
    assert examine(site)[f"state directory {file}"] == "is no directory"


def test_a_config_that_can_not_be_used_is_found_and_the_rest_is_looked_at(lived: Site) -> None:
    lived.edit_config("daily_cap_usd = 1.00", "daily_cap_usd = -1")
    found = examine(lived)
    assert "daily_cap_usd = -1" in found["config"]
    assert "status" in found


def test_a_worker_that_can_not_be_imported_is_found(lived: Site) -> None:
    lived.edit_config('run = "site_agent:run"', 'run = "no_such_agent:run"')
    assert "can't be imported" in examine(lived)["config"]


def test_a_state_directory_that_others_can_read_is_found(lived: Site) -> None:
    lived.state_dir.chmod(0o755)
    lived.store.chmod(0o644)
    found = examine(lived)
    assert "mode 0755" in found[f"state directory {lived.state_dir}"]
    assert "mode 0644" in found[f"file {lived.store}"]


def test_no_room_is_found(lived: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_site, "_FREE_BYTES_MIN", 1 << 60)
    assert "MB of room" in examine(lived)[f"state directory {lived.state_dir}"]


def test_a_stop_file_is_found(lived: Site) -> None:
    lived.call("stop", "--why", "a test")
    told = lived.call("doctor", "--json").json(Told)
    assert any("the STOP file is there" in finding.what for finding in told.findings)


def test_a_port_that_is_in_use_is_found(lived: Site) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        lived.edit_config("[supervisor]", f'[http]\nlisten = "{listen}"\n[supervisor]')
        assert "can't be listened on" in examine(lived)[f"http.listen = {listen!r}"]


def test_a_daemon_that_does_not_answer_is_found(lived: Site) -> None:
    lock = acquire(lived.state_dir)
    try:
        os.pwrite(
            lock._descriptor, b'{"pid":1,"boot_id":"b","started_at":"","listen":"127.0.0.1:9"}', 0
        )
        assert "does not answer" in examine(lived)["http://127.0.0.1:9/healthz"]
    finally:
        lock.release()


def test_kills_of_workers_and_sessions_are_found(lived: Site) -> None:
    lived.call("kill", "--worker", "digest", "--why", "looked odd")
    assert "worker:digest is killed by alice: looked odd" in examine(lived)["kill switch"]


async def _die_in_flight(life: RecordedLife) -> None:
    await life.start("digest", "triage")
    await life.placed("digest", await life.started("digest"), 5_000)


def test_what_a_dead_life_left_open_is_found(site: Site) -> None:
    site.live(_die_in_flight)
    found = examine(site)
    assert found["holds"] == "1 are open and of dead lives, 0.005 USD in all"
    assert found["ticks"] == "1 are running and of dead lives"
    assert "died without a word" in found["status"]


async def _ahead(life: RecordedLife) -> None:
    life.clock.step_wall(30 * 86_400)
    await life.start("digest", "triage")
    await life.tick("digest", 1_500)


def test_a_ledger_clock_that_is_ahead_is_found_and_put_back_in_a_persons_name(
    site: Site,
) -> None:
    site.live(_ahead)
    assert "the wall clock at" in examine(site)["ledger clock"]
    done = site.call("doctor", "--reset-ledger-clock", "--why", "ntp was wrong", "--actor", "ann")
    assert done.code == 0
    assert "counts what was spent under the later one" in " ".join(done.out.split())
    found = examine(site)
    assert "ledger clock" not in found
    assert "sessions" not in found
    assert site.call("audit").code == 0
    assert "by ann" in site.call("events", "--kind", "ledger_clock_reset").out


def test_a_clock_that_is_right_is_left_alone(site: Site) -> None:
    site.live(lambda life: life.start("digest", "triage"))
    called = site.call("doctor", "--reset-ledger-clock", "--why", "a test")
    assert called.code == 1
    assert "is not ahead" in called.err


def test_a_reset_needs_its_reason_and_no_daemon(lived: Site) -> None:
    assert lived.call("doctor", "--reset-ledger-clock").code == 64
    assert lived.call("doctor", "--why", "a test").code == 64
    lock = acquire(lived.state_dir)
    try:
        assert lived.call("doctor", "--reset-ledger-clock", "--why", "a test").code == 73
    finally:
        lock.release()


async def _fail_drill(life: RecordedLife) -> None:
    origin = life.origin("drill-1")
    await life.store.write(begin, Drill.KILL, origin, UTC_ZONE)
    verdict = Verdict(
        drill=Drill.KILL, id="drill-1", passed=False, measured_s=0, what="it was still at work"
    )
    await life.store.write(finish, verdict, origin, UTC_ZONE)


def test_a_drill_that_failed_last_is_found(lived: Site) -> None:
    lived.live(_fail_drill)
    assert examine(lived)["drill kill"] == "failed last: it was still at work"


# --- the store's file


def test_damaged_pages_are_found_with_the_tables_that_still_read(lived: Site) -> None:
    connection = sqlite3.connect(lived.store)
    ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ticks'")
    connection.close()
    content = bytearray(lived.store.read_bytes())
    content[(root - 1) * 4096 : (root - 1) * 4096 + 512] = b"\xff" * 512
    lived.store.write_bytes(content)
    told = lived.call("doctor", "--json").json(Told)
    found = [finding.what for finding in told.findings if finding.area == f"store {lived.store}"]
    assert any("is damaged" in what for what in found)
    (tables,) = [what for what in found if what.startswith("tables that read to their end")]
    whole, _, torn = tables.partition("; that do not: ")
    assert "accounts (" in whole
    assert "ticks (after 0)" in torn


def test_an_empty_store_and_one_that_is_no_database_are_found(lived: Site) -> None:
    for content, word in ((b"", "is empty"), (b"garbage" * 10_000, "damaged")):
        lived.store.write_bytes(content)
        told = lived.call("doctor", "--json").json(Told)
        assert any(word in finding.what for finding in told.findings), told


def test_a_store_of_a_newer_version_is_found(lived: Site) -> None:
    connection = sqlite3.connect(lived.store)
    with connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'future', 'x', 0)")
    connection.close()
    assert "schema 9999" in examine(lived)["store"]


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux tells who holds a lock")
def test_a_locked_store_is_found_with_who_holds_it(lived: Site) -> None:
    connection = sqlite3.connect(lived.store, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = examine(lived)[f"store {lived.store}"]
    finally:
        connection.close()
    assert f"is locked by pid {os.getpid()}" in found
    assert "pytest" in found


def test_a_log_that_has_grown_is_found(lived: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = sqlite3.connect(lived.store, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    monkeypatch.setattr(doctor_store, "_WAL_BYTES_MAX", 0)
    lived.call("kill", "--worker", "digest", "--why", "a test")
    try:
        assert "its log has grown" in examine(lived)[f"store {lived.store}"]
    finally:
        reader.close()


def test_a_package_that_is_too_old_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["msgspec>=999.1", 'x>=1; extra == "y"']
    monkeypatch.setattr("supervisor.maintenance.doctor_site.metadata.requires", lambda _: needed)
    (found,) = [f for f in doctor_site.examine_python() if "msgspec" in f.what]
    assert "999.1 is needed" in found.what


def test_a_wall_clock_that_is_set_back_a_little_is_no_finding(site: Site) -> None:
    async def a_little_ahead(life: RecordedLife) -> None:
        life.clock.step_wall(20.0)
        await life.start("digest", "triage")

    site.live(a_little_ahead)
    assert "ledger clock" not in examine(site)
