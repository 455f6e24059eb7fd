"""How much more /metrics says after 100,000 jobs than after 100."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import anyio

from bench.daemons import Daemon, Worker, running, write_config
from bench.figures import Figure, Goal
from bench.site import Site
from supervisor.clock import to_us
from supervisor.events.log import Origin
from supervisor.governance.rotation import system_journal
from supervisor.jobs.job import JobRequest, JobRules, Terms, request_job
from supervisor.jobs.queue import enqueue_all
from supervisor.storage.database import Transaction
from supervisor.storage.open import open_database

TITLE = "/metrics after 100,000 jobs ÷ after 100"
GOAL = Goal(target=1.05, aim=1.0)

_FEW = 100
_MANY = 100_000
_MANY_QUICK = 2_000
_AT_ONCE = 1_000
_SCRAPES = 20
_QUEUE = "bench"
_DONE = re.compile(r'^supervisor_jobs\{queue="bench",state="done"\} (\S+)$', re.MULTILINE)


def measure(site: Site) -> tuple[Figure, ...]:
    """Let a daemon do so many jobs, and ask it what it has to say."""
    config = write_config(site.folder, [Worker(name="w", function="nothing", queue=_QUEUE)])
    many = site.pick(_MANY, _MANY_QUICK)
    with running(config) as daemon:
        anyio.run(_do_jobs, daemon, 0, _FEW)
        few_text, few_ms = _scrape(daemon)
        anyio.run(_do_jobs, daemon, _FEW, many)
        many_text, many_ms = _scrape(daemon)
    lines = len(many_text.splitlines()), len(few_text.splitlines())
    return (
        Figure(what="lines", value=lines[0] / lines[1], unit="", samples=1, goal=GOAL),
        Figure(what=f"lines after {_FEW:,} jobs", value=lines[1], unit="", samples=1),
        Figure(what=f"lines after {many:,} jobs", value=lines[0], unit="", samples=1),
        Figure(what="bytes", value=len(many_text) / len(few_text), unit="", samples=1, goal=None),
        _span(f"a scrape after {_FEW:,} jobs, median", few_ms),
        _span(f"a scrape after {many:,} jobs, median", many_ms),
    )


def _span(what: str, spans_ms: Sequence[float]) -> Figure:
    median = round(statistics.median(spans_ms), 3)
    return Figure(what=what, value=median, unit="ms", samples=len(spans_ms))


def _scrape(daemon: Daemon) -> tuple[str, list[float]]:
    spans_ms = []
    for _ in range(_SCRAPES):
        began_s = time.perf_counter()
        text = daemon.get("/metrics")
        spans_ms.append((time.perf_counter() - began_s) * 1e3)
    return text, spans_ms


async def _do_jobs(daemon: Daemon, first: int, last: int) -> None:
    """Enqueue from beside the daemon, and wait until all of it is done."""
    now = datetime.now(UTC)
    store = await open_database("sqlite", state_dir=daemon.state_dir, now_us=to_us(now))
    try:
        for begin in range(first, last, _AT_ONCE):
            end = min(begin + _AT_ONCE, last)
            await store.write(_enqueue, _requests(begin, end), Origin(at=now, actor="bench"))
            await anyio.to_thread.run_sync(_wait_for, daemon, end)
    finally:
        await store.close()


def _wait_for(daemon: Daemon, jobs: int) -> None:
    daemon.wait_until(lambda: _done(daemon) >= jobs, f"{jobs:,} jobs are done")


def _requests(begin: int, end: int) -> list[JobRequest]:
    rules = JobRules()
    return [request_job(_QUEUE, number, Terms(), rules) for number in range(begin, end)]


def _enqueue(tx: Transaction, requests: Sequence[JobRequest], origin: Origin) -> None:
    with system_journal(tx, ZoneInfo("UTC"), origin) as journal:
        enqueue_all(tx, [(journal, request) for request in requests])


def _done(daemon: Daemon) -> float:
    found = _DONE.search(daemon.get("/metrics"))
    return float(found[1]) if found else 0.0
