"""`status` answers with and without a daemon, and its exit code is the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from supervisor.lock import Holder, Lock, acquire
from supervisor.outcome import Outcome
from tests.unit.cli.site import Site
from tests.unit.governance.recorded_life import RecordedLife


async def one_start(life: RecordedLife) -> None:
    await life.start("digest", "triage")


@pytest.fixture
def running(lived: Site) -> Iterator[Site]:
    """An installation whose daemon runs: its lock is held, its row says so."""
    lock = hold_lock(lived)
    yield lived
    lock.release()


def hold_lock(site: Site) -> Lock:
    lock = acquire(site.state_dir)
    lock.describe(Holder(pid=4242, boot_id="boot-1", started_at="", listen="127.0.0.1:9464"))
    return lock


def test_nothing_stored_and_no_daemon_exits_3_and_says_so(site: Site) -> None:
    called = site.call("status")
    assert called.code == 3
    assert "no daemon has run here yet; `supervisor run` starts it" in called.out
    assert not site.state_dir.exists()


def test_daemon_that_runs_is_healthy(running: Site) -> None:
    called = running.call("status")
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("supervisor: healthy\n")
    assert "pid 4242" in called.out
    assert "http://127.0.0.1:9464" in called.out
    assert max(map(len, called.out.splitlines())) <= 100


def test_why_a_workers_last_tick_failed_stands_below_the_workers(site: Site) -> None:
    async def fail(life: RecordedLife) -> None:
        await life.start("digest", "triage")
        started = await life.started("digest")
        await life.finish("digest", started, Outcome.FAILED, "the feed answers 404")

    site.live(fail)
    lock = hold_lock(site)
    called = site.call("status")
    lock.release()
    assert "\n  digest: failed: the feed answers 404\n" in called.out
    assert "triage: " not in called.out


def test_json_has_the_facts_of_the_text(running: Site) -> None:
    called = running.call("status", "--json")
    assert called.code == 0
    status = json.loads(called.out)
    assert status["health"] == "healthy"
    assert status["problems"] == []
    assert status["daemon"]["is_running"] is True
    assert status["daemon"]["pid"] == 4242
    workers = {worker["name"]: worker for worker in status["workers"]}
    assert workers["digest"]["life"] == "running"
    assert workers["digest"]["last_outcome"] == "ok"
    cap = next(one for one in status["accounts"] if one["id"].startswith("system/day/"))
    assert (cap["limit_usd"], cap["settled_usd"], cap["held"]) == (1.0, 0.2515, 0)
    assert {one["worker"] for one in status["sessions"]} == {"digest", "system", "triage"}


def test_daemon_that_died_exits_3_and_its_workers_are_not_running(lived: Site) -> None:
    called = lived.call("status", "--json")
    assert called.code == 3
    status = json.loads(called.out)
    assert status["daemon"]["state"] == "dead"
    assert {worker["life"] for worker in status["workers"]} == {"stopped"}


@pytest.mark.parametrize("scope", ["system", "worker:digest"])
def test_kill_of_the_system_exits_2_and_one_of_a_worker_is_shown(running: Site, scope: str) -> None:
    kind, _, name = scope.partition(":")
    assert (
        running.call("kill", f"--{kind}", *([name] if name else []), "--why", "why not").code == 0
    )
    called = running.call("status")
    assert called.code == (2 if scope == "system" else 0)
    assert "why not" in called.out


def test_stop_file_exits_2_with_its_text(running: Site) -> None:
    assert running.call("stop", "--why", "for the night", "--wait-s", "0").code == 0
    called = running.call("status")
    assert called.code == 2
    assert "alice: for the night" in called.out


def test_cap_is_shown_before_its_first_use(site: Site) -> None:
    site.live(one_start)
    status = json.loads(site.call("status", "--json").out)
    (cap,) = status["accounts"]
    assert cap["is_open"] is False
    assert (cap["limit_usd"], cap["free_usd"]) == (1.0, 1.0)


def test_store_that_can_not_be_read_counts_as_killed(lived: Site) -> None:
    lived.store.write_bytes(b"")
    called = lived.call("status")
    assert called.code == 2
    assert "the store can't be read: treat as killed" in called.out
    assert called.err.startswith("error[store_damaged]: ")
    told = lived.call("status", "--json")
    assert told.code == 2
    assert json.loads(told.out)["health"] == "killed"


def test_log_without_its_database_counts_as_killed(lived: Site) -> None:
    lived.store.rename(lived.store.with_name("supervisor.db-wal"))
    assert lived.call("status").code == 2


def test_worker_that_left_the_config_is_still_shown(lived: Site) -> None:
    lived.edit_config("[worker.triage]", "[worker.other]")
    workers = json.loads(lived.call("status", "--json").out)["workers"]
    assert [(one["name"], one["is_configured"]) for one in workers] == [
        ("digest", True),
        ("other", True),
        ("triage", False),
    ]


def test_moments_are_iso_in_utc(running: Site) -> None:
    status = json.loads(running.call("status", "--json").out)
    moments = [status["at"], status["daemon"]["started_at"], status["sessions"][0]["window_end"]]
    assert all(moment.endswith("Z") and "T" in moment for moment in moments)
