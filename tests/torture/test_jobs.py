"""kill -9 on a daemon that works off a queue: each job ends, each effect is done once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.databases import Kind, store_url
from tests.torture.job_campaign import Plan, torture_jobs
from tests.torture.record import Record

JOBS = 500
KILLS = 14


def work_off(folder: Path, kind: Kind, postgres_url: str, *, has_peer: bool = False) -> Record:
    plan = Plan(
        jobs=JOBS, kills=KILLS, seed="ci", witness=folder / "jobs" / "witness", has_peer=has_peer
    )
    database = store_url(kind, folder, postgres_url) if kind == "postgres" else "sqlite"
    record = torture_jobs(folder / "jobs", plan=plan, database=database)
    assert record.violations == [], record.report()
    assert record.kills == KILLS
    ended = record.counts["jobs done"] + record.counts["jobs dead"]
    assert ended >= JOBS, record.report()
    assert record.counts["audits"] > 0
    # Some were killed in the middle of their work, or nothing was tried.
    assert record.counts["runs"] > ended, record.report()
    return record


@pytest.mark.timeout(400)
def test_every_job_ends_and_each_effect_is_done_once_whatever_is_killed(tmp_path: Path) -> None:
    work_off(tmp_path, "sqlite", "")


@pytest.mark.timeout(400)
def test_every_job_ends_once_on_a_postgres_of_two_daemons_that_are_killed(
    tmp_path: Path, postgres_url: str
) -> None:
    record = work_off(tmp_path, "postgres", postgres_url, has_peer=True)
    assert record.counts["kills of the other daemon"] > 0
