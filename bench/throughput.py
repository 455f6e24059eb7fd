"""Governed ticks a second, beside what plain sqlite3 does on the same disk at the same time."""

from __future__ import annotations

import sqlite3
import statistics
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from bench.disk import fdatasync_median_ms
from bench.figures import SLOW_DISK_MS, Figure, Goal, percentile
from bench.governed import Governed, governed
from bench.raw_loop import RawLoop
from supervisor.outcome import Outcome
from supervisor.worker.plan import WorkerPlan
from supervisor.worker.tick import run_tick

if TYPE_CHECKING:
    from supervisor import Context

TITLE = "governed ticks"
FAST_GOAL = Goal(target=0.8, aim=1.2, is_floor=True)
SLOW_GOAL = Goal(target=4, aim=8, is_floor=True)
BYTES_GOAL = Goal(target=2000, aim=1000)

_ROUNDS = 5
_SPAN_S = 2.0
_CREW = 32


@dataclass(slots=True)
class Tally:
    """What one number of workers did, round by round; spans in milliseconds."""

    workers: int
    ratios: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    spans_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    @property
    def ticks(self) -> int:
        return len(self.spans_ms)


def measure(folder: Path) -> tuple[Figure, ...]:
    """Alternate raw and governed rounds, and take the medians of their ratios."""
    return anyio.run(_measure, folder)


async def _measure(folder: Path) -> tuple[Figure, ...]:
    alone, crew = Tally(1), Tally(_CREW)
    raw_rates: list[float] = []
    disk_ms: list[float] = []
    names = [f"w{number}" for number in range(_CREW)]
    raw = RawLoop(folder / "raw.db")
    async with governed(folder, names) as governing:
        plans = governing.plans(names, _work)
        # Every worker's session and accounts are opened before the clock runs.
        await _round(governing, plans, Tally(_CREW), 0.2)
        bytes_before = _bytes_on_disk(governing.store)
        for _ in range(_ROUNDS):
            disk_ms.append(fdatasync_median_ms(folder))
            for tally in (crew, alone):
                raw_rates.append(raw.rate(_SPAN_S))
                await _round(governing, plans[: tally.workers], tally, _SPAN_S)
                tally.ratios.append(tally.rates[-1] / raw_rates[-1])
        grown = _bytes_on_disk(governing.store) - bytes_before
    raw.close()
    sync_ms = statistics.median(disk_ms)
    return (*_rates(alone, crew, raw_rates, sync_ms), *_costs(alone, crew, grown, sync_ms))


async def _work(ctx: Context) -> None:
    """One call of a priced model that answers at once, and a state that changes."""
    reply = await ctx.model.complete("How much is the fish?", max_tokens=64)
    ctx.state["last"] = reply.text
    ctx.state["ticks"] = ctx.tick


async def _round(governing: Governed, plans: list[WorkerPlan], tally: Tally, span_s: float) -> None:
    cpu_before_s, before_s, ticks_before = time.process_time(), time.perf_counter(), tally.ticks
    async with anyio.create_task_group() as tasks:
        for plan in plans:
            tasks.start_soon(_tick_until, governing, plan, tally, before_s + span_s)
    spent_s = time.perf_counter() - before_s
    tally.cpu_s += time.process_time() - cpu_before_s
    tally.rates.append((tally.ticks - ticks_before) / spent_s)


async def _tick_until(governing: Governed, plan: WorkerPlan, tally: Tally, end_s: float) -> None:
    while (began_s := time.perf_counter()) < end_s:
        end = await run_tick(governing.kernel, plan)
        assert end.outcome is Outcome.OK, f"a tick of {plan.name} ended {end}"
        tally.spans_ms.append((time.perf_counter() - began_s) * 1000)


def _bytes_on_disk(store: Path) -> int:
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return store.stat().st_size


def _rates(alone: Tally, crew: Tally, raw_rates: list[float], sync_ms: float) -> tuple[Figure, ...]:
    goal = FAST_GOAL if sync_ms < SLOW_DISK_MS else SLOW_GOAL
    crew_ratio, alone_ratio = statistics.median(crew.ratios), statistics.median(alone.ratios)
    return (
        _figure(f"{_CREW} workers ÷ raw loop", crew_ratio, "times", len(crew.ratios), goal),
        _figure("1 worker ÷ raw loop", alone_ratio, "times", len(alone.ratios)),
        _figure(f"{_CREW} workers", statistics.median(crew.rates), "ticks/s", crew.ticks),
        _figure("1 worker", statistics.median(alone.rates), "ticks/s", alone.ticks),
        _figure("raw loop", statistics.median(raw_rates), "cycles/s", len(raw_rates)),
    )


def _costs(alone: Tally, crew: Tally, grown_bytes: int, sync_ms: float) -> tuple[Figure, ...]:
    ticks = alone.ticks + crew.ticks
    goal = Goal(target=round(3 * sync_ms + 1, 3), aim=round(2 * sync_ms + 0.4, 3))
    p50_ms = statistics.median(alone.spans_ms)
    return (
        _figure("tick of 1 worker, p50", p50_ms, "ms", alone.ticks, goal),
        _figure("tick of 1 worker, p99", percentile(alone.spans_ms, 0.99), "ms", alone.ticks),
        _figure(
            f"tick of {_CREW} workers, p50", statistics.median(crew.spans_ms), "ms", crew.ticks
        ),
        _figure("fdatasync in these minutes, median", sync_ms, "ms", _ROUNDS),
        _figure("on disk, a tick", grown_bytes / ticks, "bytes", ticks, BYTES_GOAL),
        _figure(f"CPU of a tick, {_CREW} workers", crew.cpu_s / crew.ticks * 1e6, "µs", crew.ticks),
        _figure("CPU of a tick, 1 worker", alone.cpu_s / alone.ticks * 1e6, "µs", alone.ticks),
    )


def _figure(what: str, value: float, unit: str, samples: int, goal: Goal | None = None) -> Figure:
    return Figure(what=what, value=round(value, 4), unit=unit, samples=samples, goal=goal)
