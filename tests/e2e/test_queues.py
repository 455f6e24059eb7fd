"""Queues of real daemons: what one that is dead or silent has in hand goes to another, once."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.databases import store_url
from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, RunningDaemon, Tables, installed, wait_until
from tests.torture.job_witness import Seen, Witness
from tests.torture.looking import looking_at

LEASE_S = 2.0
BLOCK_S = 2 * LEASE_S
GRACE_S = 8.0
_JOBS = 3
_ROUNDS = 3


def config(folder: Path, database: str, run: str, *, name: str) -> Tables:
    """Return the config of a daemon whose workers, `name`-0 and so on, take from the queue."""
    options = {"witness": str(folder / "witness"), "go": str(folder / "go"), "block_s": BLOCK_S}
    worker = {"run": f"tests.e2e.queue_workers:{run}", "queue": "q", "options": options}
    return {
        "supervisor": {"database": database, "grace_s": GRACE_S},
        "jobs": {"lease_s": LEASE_S, "attempts_max": 10},
        "worker": {f"{name}-{number}": worker for number in range(_JOBS)},
    }


def enqueue(site: Installation, *jobs: str) -> None:
    for job in jobs:
        ended = site.supervisor("jobs", "enqueue", "q", json.dumps(job))
        assert ended.returncode == 0, ended.stderr


def runs_of(witness: Witness, daemon: RunningDaemon) -> list[Seen]:
    return [one for one in witness.seen() if one.pid == daemon.pid and one.what == "run"]


def ends(store: str | Path) -> Mapping[str, int]:
    """Return the attempts of each job that is done, by its payload."""
    with looking_at(store) as look:
        rows = look.rows("SELECT payload, attempts FROM jobs WHERE state = 'done'")
    return {json.loads(str(payload)): int(str(attempts)) for payload, attempts in rows}


def check_refused(store: str | Path, *, completed: int, refused: int) -> None:
    """Assert how many completions stand in the record, and how many late ones were refused."""
    with looking_at(store) as look:
        events = look.names(
            "SELECT kind FROM events WHERE kind IN ('job_completed', 'job_completion_refused')"
        )
    assert sorted(events) == ["job_completed"] * completed + ["job_completion_refused"] * refused


def test_another_daemon_takes_over_what_a_killed_one_had_within_the_lease_and_a_second(
    tmp_path: Path, postgres_url: str, measure: Measure
) -> None:
    """Acceptance 1: measured by the witness, from the SIGKILL to the start of the last job."""
    database = store_url("postgres", tmp_path, postgres_url)
    witness, jobs = Witness(tmp_path / "witness"), [f"job-{number}" for number in range(_JOBS)]
    chance = random.Random("takes over")  # noqa: S311 - when to kill, no secret
    took_s: list[float] = []
    with ExitStack() as stack:
        sites = [stack.enter_context(installed(tmp_path / name)) for name in ("left", "right")]
        for site in sites:
            site.configure(config(tmp_path, database, "waits", name=site.folder.name))
        daemon = sites[0].start_ready()
        enqueue(sites[0], *jobs)
        wait_until(lambda: len(runs_of(witness, daemon)) == _JOBS, what="all jobs run")
        for number in range(_ROUNDS):
            other = sites[1 - number % 2].start_ready()
            time.sleep(chance.uniform(0.0, LEASE_S))  # wherever its renewals are
            assert runs_of(witness, other) == [], "it took jobs of a daemon that lives"
            killed_at = time.time()
            daemon.kill_9()
            wait_until(
                lambda daemon=other: len(runs_of(witness, daemon)) == _JOBS,  # type: ignore[misc] # it is bound
                what="the other one has all jobs",
            )
            took_s.append(max(run.at for run in runs_of(witness, other)) - killed_at)
            daemon = other
        (tmp_path / "go").touch()
        wait_until(lambda: len(ends(database)) == _JOBS, what="all jobs are done")
        assert daemon.stop() == 0
        check_refused(database, completed=_JOBS, refused=0)
        audited = sites[0].supervisor("audit")
        assert audited.returncode == 0, audited.stdout + audited.stderr
    assert set(ends(database).values()) == {1 + _ROUNDS}, "each death has used up an attempt"
    for job in jobs:
        tokens = [one.token for one in witness.seen() if one.job == job and one.what == "run"]
        assert tokens == sorted(set(tokens)), "each holder's token is above that of those before"
    _, usual, longest = sorted(took_s)
    measure("take-over of a killed daemon's jobs", f"{longest:.2f} s at a lease of {LEASE_S:g} s")
    # One of three may have waited for a CPU that others had.
    assert usual <= LEASE_S + 1.0, took_s


def test_what_a_killed_daemon_was_doing_outside_is_in_doubt_as_soon_as_its_job_is_taken_over(
    tmp_path: Path, postgres_url: str
) -> None:
    """Not a minute later, when the others look for what the dead have left by themselves."""
    database = store_url("postgres", tmp_path, postgres_url)
    witness = Witness(tmp_path / "witness")
    with ExitStack() as stack:
        sites = [stack.enter_context(installed(tmp_path / name)) for name in ("left", "right")]
        for site in sites:
            site.configure(config(tmp_path, database, "waits_in_its_effect", name=site.folder.name))
        killed = sites[0].start_ready()
        enqueue(sites[0], "job")
        wait_until(lambda: witness.counted("effect"), what="the effect is begun")
        other = sites[1].start_ready()
        killed.kill_9()

        def states() -> list[str]:
            with looking_at(database) as look:
                return look.names("SELECT state FROM jobs UNION ALL SELECT state FROM effects")

        wait_until(lambda: states() == ["unknown", "unknown"], what="both are in doubt")
        assert other.stop() == 0
    assert witness.counted("effect") == {"job": 1}


def test_a_blocked_loop_loses_its_job_and_its_late_completion_is_refused(
    tmp_path: Path, postgres_url: str
) -> None:
    """Acceptance 4: blocked for two leases, completed once, by whoever came after."""
    database = store_url("postgres", tmp_path, postgres_url)
    witness = Witness(tmp_path / "witness")
    with ExitStack() as stack:
        sites = [stack.enter_context(installed(tmp_path / name)) for name in ("left", "right")]
        for site in sites:
            site.configure(config(tmp_path, database, "blocks", name=site.folder.name))
        blocked = sites[0].start_ready()
        enqueue(sites[0], "job")
        wait_until(lambda: runs_of(witness, blocked), what="it has the job")
        other = sites[1].start_ready()
        (tmp_path / "go").touch()
        wait_until(lambda: ends(database), what="the job is done")
        assert blocked.is_running
        assert [run.pid for run in witness.seen() if run.what == "run"] == [blocked.pid, other.pid]
        wait_until(
            lambda: len([1 for _ in sites[0].log_lines("leases_not_renewed")]),
            what="it says why its lease was not renewed",
        )
        assert [daemon.stop() for daemon in (blocked, other)] == [0, 0]
        check_refused(database, completed=1, refused=1)
        assert witness.counted("effect") == {"job": 1}
        with looking_at(database) as look:
            outcomes = look.rows("SELECT worker, outcome FROM ticks WHERE outcome <> 'noop'")
            kept = look.names("SELECT name FROM workers WHERE state LIKE '%done%'")
        assert sorted(str(outcome) for _, outcome in outcomes) == ["failed", "ok"]
        assert len(kept) == 1, "what the late one left is not kept"
        assert kept[0].startswith("right")
        audited = sites[0].supervisor("audit")
        assert audited.returncode == 0, audited.stdout + audited.stderr
    assert ends(database) == {"job": 2}


def test_a_blocked_loop_that_nobody_relieves_does_its_job_once(installation: Installation) -> None:
    """Acceptance 4, on SQLite: no other daemon is there to take the job."""
    folder = installation.folder
    (folder / "go").touch()
    installation.configure(config(folder, "sqlite", "blocks", name="w"))
    daemon = installation.start_ready()
    enqueue(installation, "job")
    wait_until(lambda: ends(installation.store), what="the job is done")
    assert daemon.stop() == 0
    witness = Witness(folder / "witness")
    assert [one.what for one in witness.seen()] == ["run", "effect", "end"]
    assert witness.seen()[-1].at - witness.seen()[0].at >= BLOCK_S
    check_refused(installation.store, completed=1, refused=0)
    assert ends(installation.store) == {"job": 1}
    installation.check_audit()


def test_a_job_is_cancelled_also_while_the_daemon_drains(installation: Installation) -> None:
    folder = installation.folder
    installation.configure(config(folder, "sqlite", "waits", name="w"))
    daemon = installation.start_ready()
    enqueue(installation, "job", "other")
    witness = Witness(folder / "witness")
    wait_until(lambda: len(runs_of(witness, daemon)) == 2, what="both run")
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: installation.log_lines("stopping"), what="it drains")
    ((job_id,),) = installation.rows("SELECT id FROM jobs WHERE payload = ?", '"job"')
    cancelled = installation.supervisor("jobs", "cancel", str(job_id), "--why", "a test")
    assert cancelled.returncode == 0, cancelled.stderr
    wait_until(
        lambda: installation.number("SELECT count(*) FROM jobs WHERE state = 'cancelled'"),
        what="it is cancelled",
    )
    assert daemon.is_running, "the other job has its grace"
    assert daemon.wait() == 0
    rows = installation.rows("SELECT payload, state, attempts FROM jobs ORDER BY payload")
    assert rows == [('"job"', "cancelled", 1), ('"other"', "queued", 0)]
    installation.check_audit()
