"""`python -m tests.torture`: kill real daemons thousands of times, and say what came of it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.databases import store_url
from tests.torture.job_campaign import Plan, torture_jobs
from tests.torture.lanes import Torture


def main() -> int:
    """Run the harness and return 0, or 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--kills", type=int, default=2_000, metavar="N")
    parser.add_argument("--seed", default=time.strftime("%Y%m%d%H%M%S"))
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--postgres", default="", metavar="URL", help="else one of its own")
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--jobs", type=int, metavar="N", help="kill one that works off N jobs")
    parser.add_argument("--peer", action="store_true", help="... beside a second daemon: postgres")
    parser.add_argument("--resume-max-s", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, help="else a fresh one among the temporary ones")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    told = parser.parse_args()
    if told.peer and not (told.jobs and told.database == "postgres"):
        parser.error("--peer goes with --jobs N and --database postgres: they share a store")
    folder = told.folder or Path(tempfile.mkdtemp(prefix="torture-"))
    began_s = time.monotonic()

    def tell(line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began_s:6.0f} s  {line}\n")
        sys.stdout.flush()

    tell(f"seed {told.seed}, {told.kills} kills, {told.database}, in {folder}")
    with ExitStack() as stack:
        url = told.postgres or _postgres_url(stack, told.database)
        if told.jobs:
            plan = Plan(
                jobs=told.jobs,
                kills=told.kills,
                seed=told.seed,
                witness=folder / "jobs" / "witness",
                has_peer=told.peer,
            )
            database = store_url("postgres", folder, url) if url else "sqlite"
            record = torture_jobs(folder / "jobs", plan=plan, database=database, tell=tell)
        else:
            torture = Torture(
                folder,
                kills=told.kills,
                seed=told.seed,
                kind=told.database,
                postgres_url=url,
            )
            record = torture.run(lanes=told.lanes, tell=tell)
    tell("over")
    sys.stdout.write(record.report() + "\n")
    if told.json:
        told.json.write_text(record.as_json() + "\n", encoding="utf-8")
    slowest_s = max(record.resumes_own_s, default=0.0)
    if slowest_s > told.resume_max_s:
        tell(f"too slow: a resume took {slowest_s:.2f} s of its own, not {told.resume_max_s:g}")
    return 1 if record.violations or slowest_s > told.resume_max_s else 0


def _postgres_url(stack: ExitStack, database: str) -> str:
    """Return the URL of a server that lives as long as the run, empty where none is needed."""
    if database != "postgres":
        return ""
    from tests.postgres_server import PostgresServer

    server = PostgresServer()
    stack.callback(server.remove)
    server.start()
    return server.url


if __name__ == "__main__":
    sys.exit(main())
