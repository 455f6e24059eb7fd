"""Canaries planted in every input of a full run are found nowhere in what it leaves behind."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.e2e.both_databases import PostgresInstallation
from tests.e2e.canaries import Canaries
from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, RunningDaemon, wait_until
from tests.e2e.leaky_site import (
    configure,
    echoing,
    files_of,
    plant_by_commands,
    plant_in_files,
    told_by,
)
from tests.e2e.machine_clock import MachineClock
from tests.e2e.ping_receiver import receiving_pings

OUTCOMES = {
    "leaky": "ok",
    "crashing": "failed",
    "asking": "failed",
    "handing": "failed",
    "feeds": "ok",
    "inbox": "ok",
    "repositories": "ok",
}


def test_no_canary_is_found_in_anything_that_a_full_run_leaves_behind(
    on_both: Installation, tmp_path: Path, measure: Measure
) -> None:
    canaries, clock = Canaries(), MachineClock(tmp_path / "clock")
    environment = {**canaries.environment, **clock.environment}
    plant_in_files(on_both, canaries)
    with receiving_pings() as told, echoing(canaries) as url:
        configure(on_both, canaries, url=url, webhook=told.url)
        daemon = on_both.start(environment=environment)
        daemon.wait_until_ready()
        wait_until_ticked(on_both, daemon)
        answers = plant_by_commands(on_both, daemon, canaries)
        dead = "SELECT count(*) FROM jobs WHERE state = 'dead'"
        wait_until(lambda: on_both.number(dead) == len(canaries.all), what="the jobs are dead")
        wait_until(lambda: len(told.pings) >= 2, what="alerts arrive")
        found = {"answers": answers.encode(), **told_by(on_both, daemon)}
        # As they lie there while it runs, the write-ahead log included.
        found |= {f"running: {name}": content for name, content in files_of(on_both).items()}
        assert daemon.stop() == 0
        found["console"] = daemon.said().encode()
        found |= exported_and_backed_up(on_both, clock, environment)
        found["alerts"] = b"\n".join(str(ping).encode() for ping in told.pings)
    found |= files_of(on_both)
    hits = canaries.hits(found)
    assert hits == [], "\n".join(map(str, hits))
    check_all_of_it_was_there(on_both, found)
    size_mb = sum(map(len, found.values())) / 1e6
    places = f"{len(found)} places, {size_mb:.1f} MB"
    measure("redaction", f"0 hits of {len(canaries.hidden)} canaries in {places}")


def wait_until_ticked(site: Installation, daemon: RunningDaemon) -> None:
    for worker, outcome in OUTCOMES.items():
        wait_until(partial(has_ended, site, worker), what=f"{worker} has ticked")
        assert site.outcomes(worker)[:1] == [outcome], (worker, daemon.said()[-3000:])


def has_ended(site: Installation, worker: str) -> bool:
    return site.outcomes(worker)[:1] not in ([], [None])


def exported_and_backed_up(
    site: Installation, clock: MachineClock, environment: dict[str, str]
) -> dict[str, bytes]:
    """Live on days later, export what is over, and make a backup where there is a file."""
    clock.step(3 * 86_400)
    daemon = site.start(environment=environment)
    daemon.wait_until_ready()
    over = "SELECT count(*) FROM sessions WHERE status = 'completed'"
    wait_until(lambda: site.number(over) >= 4, what="the sessions are over")
    assert daemon.stop() == 0
    clock.step(3 * 86_400)
    pruned = site.supervisor("prune", "--keep-days", "1", environment=environment)
    assert pruned.returncode == 0, pruned.stderr
    found = {"prune": (pruned.stdout + pruned.stderr).encode(), "console 2": daemon.said().encode()}
    if not isinstance(site, PostgresInstallation):
        copy = site.folder / "backup.db"
        backup = site.supervisor("backup", str(copy), environment=environment)
        assert backup.returncode == 0, backup.stderr
        found["backup"] = copy.read_bytes() + (backup.stdout + backup.stderr).encode()
    return found


def check_all_of_it_was_there(site: Installation, found: dict[str, bytes]) -> None:
    """All of it went through, and can be proved: it was hidden before it was hashed."""
    assert b"".join(found.values()).count(b"[redacted]") > 200
    names = list(found)
    assert sum("/reports/" in name for name in names) > 20
    assert sum("/exports/" in name for name in names) > 0, found["prune"]
    for part in ("/reports/drafts/", "heartbeat.json", "supervisor.jsonl", "/reports/feeds-"):
        assert any(part in name for name in names), part
    log = "pg_wal" if isinstance(site, PostgresInstallation) else "supervisor.db-wal"
    assert any(log in name and content for name, content in found.items())
    for name, content in found.items():
        if name in ("report", "dead --json") or name.startswith("incident export"):
            assert b"[redacted]" in content, (name, content[:500])
    site.check_audit()
