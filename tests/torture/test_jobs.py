"""kill -9 on a daemon that works off a queue: each job ends, each effect is done once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.databases import Kind, store_url
from tests.torture.job_campaign import torture_jobs

JOBS = 500
KILLS = 14


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_every_job_ends_and_each_effect_is_done_once_whatever_is_killed(
    tmp_path: Path, kind: Kind, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "jobs"
    database = "sqlite"
    if kind == "postgres":
        database = store_url(kind, folder, request.getfixturevalue("postgres_url"))
    record = torture_jobs(folder, jobs=JOBS, kills=KILLS, seed="ci", database=database)
    assert record.violations == [], record.report()
    assert record.kills == KILLS
    ended = record.counts["jobs done"] + record.counts["jobs dead"]
    assert ended >= JOBS, record.report()
    assert record.counts["audits"] > 0
    # Some were killed in the middle of their work, or nothing was tried.
    assert record.counts["runs"] > ended, record.report()
