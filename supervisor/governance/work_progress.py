"""How far long work is: of jobs, of ticks that run, and of what the next ticks go on with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.jobs.progress import (
    Progress,
    left_progress,
    progress_of,
    running_progress,
)
from supervisor.storage.database import Transaction

_ROWS_MAX = 100


class ProgressStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A loop over items, or what a worker has said of its tick, where `name` is empty.

    `item` is the one in work where that takes long, else empty; `last_item` the last that is done.
    `eta_s` is None where nobody can say. `is_running` is False for what waits to be gone on with.
    """

    worker: str
    tick: int
    job: str
    name: str
    done: int
    total: int | None
    item: str
    last_item: str
    eta_s: float | None
    at: str
    is_running: bool

    @property
    def count(self) -> str:
        """How many are done, for people."""
        if not self.total:
            return f"{self.done:,}"
        return f"{self.done:,} of {self.total:,} ({self.done * 100 // self.total} %)"


def read_progress(tx: Transaction, now: datetime, *, dead: str = "") -> tuple[ProgressStatus, ...]:
    """Return what is at work now, then what waits for its worker's next tick.

    `dead` is a life that is known to be over, though nobody has closed yet what it was at.
    """
    running = [
        _status(one, now, is_running=not dead or one.boot_id != dead)
        for one in running_progress(tx, _ROWS_MAX)
    ]
    left = [_status(one, now, is_running=False) for one in left_progress(tx, _ROWS_MAX)]
    return (*running, *left)


def progress_of_job(
    tx: Transaction, job_id: str, now: datetime, *, is_running: bool
) -> Sequence[ProgressStatus]:
    """Return how far a job has come."""
    rows = progress_of(tx, f"job:{job_id}")
    return [_status(one, now, is_running=is_running) for one in rows]


def _status(row: Progress, now: datetime, *, is_running: bool) -> ProgressStatus:
    return ProgressStatus(
        worker=row.worker,
        tick=row.tick,
        job=row.job,
        name=row.name,
        done=row.done,
        total=row.total,
        item=row.item if is_running else "",
        last_item=row.last_item,
        eta_s=row.eta_s(to_us(now)) if is_running else None,
        at=iso(from_us(row.at)),
        is_running=is_running,
    )
