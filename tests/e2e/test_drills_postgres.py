"""Drills, `doctor` and a restore by other means, where the store is a Postgres database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.databases import store_url
from tests.e2e.daemon_process import Installation, wait_until


@pytest.fixture
def on_postgres(installation: Installation, postgres_url: str, tmp_path: Path) -> Installation:
    url = store_url("postgres", tmp_path / "pg", postgres_url)
    installation.configure(
        {
            "supervisor": {"database": url, "kill_latency_s": 5.0},
            "worker": {"other": {"run": "agents:counts", "every_s": 0.05}},
        }
    )
    return installation


def test_drills_pass_and_doctor_finds_nothing_on_postgres(on_postgres: Installation) -> None:
    daemon = on_postgres.start_ready()
    for drill in ("kill", "approvals"):
        held = on_postgres.supervisor("drill", drill)
        assert held.returncode == 0, held.stdout + held.stderr
        assert daemon.metric("supervisor_drill_last_pass_timestamp_seconds", drill=drill) > 0
    # The database's password stands in it.
    on_postgres.config.chmod(0o600)
    doctor = on_postgres.supervisor("doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert daemon.stop() == 0
    assert on_postgres.supervisor("audit").returncode == 0


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (("backup", "x.db"), "pg_dump"),
        (("restore", "x.db", "--why", "x"), "pg_restore"),
        (("drill", "restore"), "pg_dump"),
    ],
)
def test_what_copies_a_file_names_the_tools_of_postgres(
    on_postgres: Installation, words: tuple[str, ...], instead: str
) -> None:
    assert on_postgres.start_ready().stop() == 0
    refused = on_postgres.supervisor(*words)
    assert refused.returncode == 64, refused.stdout + refused.stderr
    assert instead in refused.stderr


def test_daemon_starts_after_a_restore_by_pg_restore_and_is_killed_until_it_is_released(
    on_postgres: Installation,
) -> None:
    daemon = on_postgres.start_ready()
    wait_until(lambda: on_postgres.heartbeat()["workers"], what="a heartbeat is there")
    assert daemon.stop() == 0
    put = on_postgres.supervisor("restore", "--in-place", "--why", "a dump", "--spent-usd", "0.1")
    assert put.returncode == 0, put.stderr
    assert not (on_postgres.state_dir / "heartbeat.json").exists()
    assert on_postgres.supervisor("audit").returncode == 0
    daemon = on_postgres.start_ready()
    assert on_postgres.supervisor("status").returncode == 2
    assert daemon.stop() == 0
