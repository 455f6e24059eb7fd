"""Two daemons on one Postgres: the commits of one wake no refused worker of the other."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from tests.databases import store_url
from tests.e2e.daemon_process import installed, wait_until
from tests.torture.looking import looking_at


def test_a_refused_worker_is_not_woken_by_another_daemons_commits(
    tmp_path: Path, postgres_url: str
) -> None:
    database = store_url("postgres", tmp_path, postgres_url)
    with ExitStack() as stack:
        refused = stack.enter_context(installed(tmp_path / "refused"))
        busy = stack.enter_context(installed(tmp_path / "busy"))
        for site, name, every_s in ((refused, "killed", 3600.0), (busy, "counts", 0.1)):
            site.configure(
                {
                    "supervisor": {"database": database},
                    "worker": {name: {"run": "agents:counts", "every_s": every_s}},
                }
            )
        ended = refused.supervisor("kill", "--worker", "killed", "--why", "a test")
        assert ended.returncode == 0, ended.stderr
        daemons = [refused.start(), busy.start()]

        def skipped() -> int:
            with looking_at(database) as look:
                return look.number("SELECT count(*) FROM ticks WHERE worker = 'killed'")

        wait_until(skipped, what="the worker was refused")
        before = skipped()
        time.sleep(5.0)
        assert skipped() - before <= 1, f"{skipped() - before} ticks were skipped in 5 s"
        assert [daemon.stop() for daemon in daemons] == [0, 0]
