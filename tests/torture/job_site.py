"""An installation whose daemon works through a queue, and what people do about it from outside."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from supervisor.assembly import build_job_rules
from supervisor.cli.store import opened
from supervisor.clock import SystemClock
from supervisor.events.log import Origin
from supervisor.governance import job_commands
from supervisor.governance.job_commands import ResolveCommand
from supervisor.governance.rotation import system_journal
from supervisor.jobs.job import JobRequest, Terms, request_job
from supervisor.jobs.queue import enqueue
from supervisor.storage.database import Transaction
from tests.e2e.billing_server import BillingServer
from tests.e2e.daemon_process import Tables
from tests.torture.site import BREAKERS, CAP_MICRO_USD, TorturedSite

QUEUE = "work"
WORKERS = 16
#: Short, so that a daemon that dies in a renewal is one of those that are killed.
LEASE_S = 1.0
#: More than a campaign's kills can burn of one job; those of `frail` jobs are few.
ATTEMPTS_MAX = 20
_FRAIL_ATTEMPTS_MAX = 2
#: So that the calls of all fit under the cap, however many jobs there are.
_PAID_MAX = 400
_KINDS = (
    "plain",
    "plain",
    "plain",
    "probed",
    "flaky",
    "parent",
    "frail",
    "long",
    "plain",
    "probed",
)
_resolutions = itertools.count(1)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A job of a campaign, before it is enqueued; `s` is how long it takes, in seconds."""

    name: str
    kind: str
    s: float

    @property
    def attempts_max(self) -> int:
        return _FRAIL_ATTEMPTS_MAX if self.kind == "frail" else ATTEMPTS_MAX


def deal_job(number: int) -> Wanted:
    """Return the job of a number, the same each time: most are quick, some take a while."""
    chance = random.Random(number)  # noqa: S311 - chance that can be repeated, no secret
    kind = _KINDS[number % len(_KINDS)]
    if number % 23 == 0 and number // 23 < _PAID_MAX:
        kind = "paid"
    elif number % 37 == 0:
        kind = "hopeless"
    work_s = chance.uniform(0.0, 0.02) if chance.random() < 0.6 else chance.uniform(0.05, 0.25)
    return Wanted(name=f"job-{number}", kind=kind, s=round(work_s, 4))


def queue_config(
    billing: BillingServer, *, database: str, witness: Path, workers: Sequence[str]
) -> Tables:
    """Return the config of a daemon whose workers take from the one queue."""
    worker = {
        "run": "tests.torture.job_workers:works",
        "queue": QUEUE,
        "model": "paid/model",
        "tick_timeout_s": 20.0,
        "options": {"witness": str(witness)},
    }
    return {
        "supervisor": {"database": database, "grace_s": 5.0},
        "spend": {"daily_cap_usd": CAP_MICRO_USD / 1e6, "min_output_tokens": 1},
        # Most ticks have a job that fails, and rightly open their workers' breakers. That of all
        # would let one tick through at a time, for minutes.
        "breakers": {**BREAKERS, "system_failures_max": 0},
        "log": {"level": "warning"},
        "jobs": {
            "lease_s": LEASE_S,
            "attempts_max": ATTEMPTS_MAX,
            "retry_delay_s": 0.01,
            "retry_delay_max_s": 0.05,
        },
        "providers": {"paid": billing.provider(attempts_max=1)},
        "worker": dict.fromkeys(workers, worker),
    }


class JobSite(TorturedSite):
    """The folder of one campaign of jobs."""

    def enqueue(self, jobs: Sequence[Wanted]) -> list[bool]:
        """Enqueue jobs as another process does, in one transaction; return which are new."""
        rules = build_job_rules(self.loaded.config)
        requests = [
            request_job(
                QUEUE,
                msgspec.structs.asdict(job),
                Terms(key=job.name, attempts_max=job.attempts_max),
                rules,
            )
            for job in jobs
        ]
        return asyncio.run(self._enqueue(requests))

    async def _enqueue(self, requests: Sequence[JobRequest]) -> list[bool]:
        origin = Origin(at=SystemClock().now(), actor="torture")
        async with opened(self.loaded, is_read_only=False) as database:
            return await database.write(_enqueue, requests, origin, self.loaded.timezone)

    def resolve(self, job_id: str, *, is_done: bool) -> None:
        """Say of a job in quarantine what became of its effect, as a person who has looked."""
        asyncio.run(self._resolve(job_id, is_done=is_done))

    async def _resolve(self, job_id: str, *, is_done: bool) -> None:
        command = ResolveCommand(job=job_id, is_done=is_done, why="the witness has been asked")
        command_id = f"resolve-{job_id}-{next(_resolutions)}"
        origin = Origin(at=SystemClock().now(), actor="torture", command_id=command_id)
        async with opened(self.loaded, is_read_only=False) as database:
            await database.write(job_commands.resolve, command, origin, self.loaded.timezone)


def _enqueue(
    tx: Transaction, requests: Sequence[JobRequest], origin: Origin, timezone: ZoneInfo
) -> list[bool]:
    with system_journal(tx, timezone, origin) as journal:
        return [enqueue(tx, journal, request).is_new for request in requests]
