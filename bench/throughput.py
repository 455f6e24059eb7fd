"""Governed ticks a second, beside what the plain driver does on the same disk at the same time."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from bench.disk import fdatasync_median_ms
from bench.figures import SLOW_DISK_MS, Figure, Goal, crew, percentile
from bench.governed import Governed, governed
from bench.raw_loop import RawLoop, rate
from bench.site import Site
from supervisor.outcome import Outcome
from supervisor.worker.plan import WorkerPlan
from supervisor.worker.tick import run_tick

if TYPE_CHECKING:
    from supervisor import Context

TITLE = "governed ticks"
FAST_GOAL = Goal(target=0.8, aim=1.2, is_floor=True)
SLOW_GOAL = Goal(target=4, aim=8, is_floor=True)
BYTES_GOAL = Goal(target=2000, aim=1000)

#: Those whose ratio to the raw loop is promised.
_PROMISED = 32
_CREWS = (_PROMISED, 256, 1)
_ROUNDS = 5
_SPAN_S = 1.5


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

    @property
    def who(self) -> str:
        return crew(self.workers, "worker")


@dataclass(slots=True, kw_only=True)
class Measured:
    """What all rounds gave; the smallest number of workers is last."""

    tallies: list[Tally]
    raw_rates: list[float]
    disk_ms: list[float]
    grown_bytes: int = 0

    @property
    def sync_ms(self) -> float:
        return statistics.median(self.disk_ms)


def measure(site: Site) -> tuple[Figure, ...]:
    """Alternate raw and governed rounds, and take the medians of their ratios."""
    measured = anyio.run(_measure, site)
    return (*_rates(measured), *_costs(measured))


async def _measure(site: Site) -> Measured:
    measured = Measured(
        tallies=[Tally(workers) for workers in _CREWS], raw_rates=[], disk_ms=[], grown_bytes=0
    )
    names = [f"w{number}" for number in range(max(_CREWS))]
    raw, url = site.stores.raw_loop(), site.stores.make()
    async with governed(site.folder, names, url=url) as governing:
        plans = governing.plans(names, work)
        # Every worker's session and accounts are opened before the clock runs.
        await _round(governing, plans, Tally(len(plans)), 0.2)
        before_bytes = site.stores.bytes_on_disk(url)
        for _ in range(site.pick(_ROUNDS, 2)):
            measured.disk_ms.append(fdatasync_median_ms(site.stores.folder))
            await _take_turns(governing, plans, raw, measured, site.pick(_SPAN_S, 0.3))
        measured.grown_bytes = site.stores.bytes_on_disk(url) - before_bytes
    raw.close()
    return measured


async def work(ctx: Context) -> None:
    """One call of a priced model that answers at once, and a state that changes."""
    reply = await ctx.model.complete("How much is the fish?", max_tokens=64)
    ctx.state["last"] = reply.text
    ctx.state["ticks"] = ctx.tick


async def _take_turns(
    governing: Governed, plans: list[WorkerPlan], raw: RawLoop, measured: Measured, span_s: float
) -> None:
    for tally in measured.tallies:
        measured.raw_rates.append(rate(raw, span_s))
        await _round(governing, plans[: tally.workers], tally, span_s)
        tally.ratios.append(tally.rates[-1] / measured.raw_rates[-1])


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
        tally.spans_ms.append(await tick_ms(governing, plan, began_s))


async def tick_ms(governing: Governed, plan: WorkerPlan, began_s: float) -> float:
    """Run a tick, and return how long it took since `began_s`."""
    end = await run_tick(governing.kernel, plan)
    assert end.outcome is Outcome.OK, f"a tick of {plan.name} ended {end}"
    return (time.perf_counter() - began_s) * 1000


def _rates(measured: Measured) -> list[Figure]:
    goal = FAST_GOAL if measured.sync_ms < SLOW_DISK_MS else SLOW_GOAL
    ratios = [
        _figure(
            f"{tally.who} ÷ raw loop",
            statistics.median(tally.ratios),
            "times",
            len(tally.ratios),
            goal if tally.workers == _PROMISED else None,
        )
        for tally in measured.tallies
    ]
    rates = [
        _figure(tally.who, statistics.median(tally.rates), "ticks/s", tally.ticks)
        for tally in measured.tallies
    ]
    raw = statistics.median(measured.raw_rates)
    return [*ratios, *rates, _figure("raw loop", raw, "cycles/s", len(measured.raw_rates))]


def _costs(measured: Measured) -> list[Figure]:
    sync_ms, alone = measured.sync_ms, measured.tallies[-1]
    goal = Goal(target=round(3 * sync_ms + 1, 3), aim=round(2 * sync_ms + 0.4, 3))
    spans: list[Figure] = []
    for tally in reversed(measured.tallies):
        p50_ms, p99_ms = (percentile(tally.spans_ms, rank) for rank in (0.5, 0.99))
        promised = goal if tally is alone else None
        spans += [
            _figure(f"tick of {tally.who}, p50", p50_ms, "ms", tally.ticks, promised),
            _figure(f"tick of {tally.who}, p99", p99_ms, "ms", tally.ticks),
        ]
    ticks = sum(tally.ticks for tally in measured.tallies)
    cpu = [
        _figure(f"CPU of a tick, {tally.who}", tally.cpu_s / tally.ticks * 1e6, "µs", tally.ticks)
        for tally in measured.tallies
    ]
    return [
        *spans,
        _figure("fdatasync in these minutes, median", sync_ms, "ms", len(measured.disk_ms)),
        _figure("on disk, a tick", measured.grown_bytes / ticks, "bytes", ticks, BYTES_GOAL),
        *cpu,
    ]


def _figure(what: str, value: float, unit: str, samples: int, goal: Goal | None = None) -> Figure:
    return Figure(what=what, value=round(value, 4), unit=unit, samples=samples, goal=goal)
