"""How much longer a tick takes on a store with 1,000,000 events than on an empty one."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from bench.figures import Figure, Goal, crew
from bench.full_store import events_in, full_store
from bench.governed import Governed, governed
from bench.site import Site
from bench.throughput import tick_ms, work
from supervisor.worker.plan import WorkerPlan

TITLE = "tick p50 at 1,000,000 events ÷ at 0 events"
GOAL = Goal(target=1.1, aim=1.0)

_CREWS = (1, 32)
_NAMES = [f"worker-{number}" for number in range(max(_CREWS))]
_ROUNDS = 10
_TURNS = 4
_TURN_S = 0.15

#: How long each tick took, by how many workers ticked at once.
_Spans = dict[int, list[float]]


def measure(site: Site) -> tuple[Figure, ...]:
    """Let one worker and 32 tick on both stores by turns; every round has a new empty store."""
    source = full_store(site)
    url = site.stores.copy(source)
    # What was written for this is not to be written back while it is measured.
    os.sync()
    events = _figure("events in the full store", events_in(source), "", 1)
    return (*anyio.run(_measure, site, url), events)


async def _measure(site: Site, url: str) -> tuple[Figure, ...]:
    full_ms, empty_ms = _no_spans(), _no_spans()
    async with _opened(site, "full", url) as full:
        for number in range(site.pick(_ROUNDS, 2)):
            async with _opened(site, f"empty-{number}", site.stores.make()) as empty:
                for workers in _CREWS * site.pick(_TURNS, 1):
                    await _turn(empty, workers, empty_ms)
                    await _turn(full, workers, full_ms)
    return _figures(full_ms, empty_ms)


def _no_spans() -> _Spans:
    return {workers: [] for workers in _CREWS}


@asynccontextmanager
async def _opened(site: Site, name: str, url: str) -> AsyncIterator[Governed]:
    """Open a store, every worker's session and accounts with it."""
    folder = site.folder / name
    folder.mkdir()
    async with governed(folder, _NAMES, url=url) as governing:
        await _turn(governing, len(_NAMES), _no_spans())
        site.stores.season(url)
        yield governing


async def _turn(governing: Governed, workers: int, spans_ms: _Spans) -> None:
    """Let so many workers tick for a turn's time, and note how long each tick took."""
    end_s = time.perf_counter() + _TURN_S
    async with anyio.create_task_group() as tasks:
        for plan in governing.plans(_NAMES[:workers], work):
            tasks.start_soon(_tick_until, governing, plan, end_s, spans_ms[workers])


async def _tick_until(
    governing: Governed, plan: WorkerPlan, end_s: float, spans_ms: list[float]
) -> None:
    while (began_s := time.perf_counter()) < end_s:
        spans_ms.append(await tick_ms(governing, plan, began_s))


def _figures(full_ms: _Spans, empty_ms: _Spans) -> tuple[Figure, ...]:
    figures: list[Figure] = []
    for workers in _CREWS:
        who, full, empty = crew(workers, "worker"), full_ms[workers], empty_ms[workers]
        full_p50, empty_p50 = statistics.median(full), statistics.median(empty)
        ticks = len(full) + len(empty)
        figures += [
            _figure(f"{who}, full ÷ empty", full_p50 / empty_p50, "times", ticks, GOAL),
            _figure(f"{who}, p50 on the full store", full_p50, "ms", len(full)),
            _figure(f"{who}, p50 on the empty store", empty_p50, "ms", len(empty)),
        ]
    return tuple(figures)


def _figure(what: str, value: float, unit: str, samples: int, goal: Goal | None = None) -> Figure:
    return Figure(what=what, value=round(value, 4), unit=unit, samples=samples, goal=goal)
