"""Whether a store stays as small and as fast over months as it is after a week."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from bench.figures import Figure, Goal, percentile
from bench.governed import Governed, governed
from bench.site import Site
from bench.throughput import tick_ms, work
from supervisor.clock import VirtualClock
from supervisor.governance.audit import audit
from supervisor.maintenance.export_audit import audit_export
from supervisor.maintenance.retention import Retained, retain
from supervisor.maintenance.retention_duty import RetentionPlan
from supervisor.storage.sqlite_copies import copy_store
from supervisor.worker.plan import WorkerPlan

TITLE = "90 virtual days at a tick a minute, pruned after five"
GOAL = Goal(target=1.1, aim=1.0)

_START = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
_DAYS = 90
_FIRST = 7
_KEEP_DAYS = 5
_TICKS_A_DAY = 1_440
_DAY_S = 86_400.0
_TURNS = 40
_TURN_TICKS = 50
#: Between two ticks at night, which are the day's: not a day's work in two seconds.
_PAUSE_S = 0.01


@dataclass(slots=True)
class Lived:
    """What was seen day by day; spans in milliseconds."""

    bytes_of_day: dict[int, int] = field(default_factory=dict)
    spans_of_day: dict[int, list[float]] = field(default_factory=dict)
    beside_ms: list[float] = field(default_factory=list)
    runs_s: list[float] = field(default_factory=list)
    exported_bytes: int = 0
    exported_events: int = 0

    def note(self, done: Retained, span_s: float) -> None:
        if done.exports:
            self.runs_s.append(span_s)
            self.exported_bytes += sum(export.bytes for export in done.exports)
            self.exported_events += sum(export.events for export in done.exports)


def measure(site: Site) -> tuple[Figure, ...]:
    """Live, prune every night, keep a copy of the first week's store, and compare the two."""
    return anyio.run(_measure, site)


async def _measure(site: Site) -> tuple[Figure, ...]:
    days = site.pick(_DAYS, 9)
    url, lived = site.stores.make(), Lived()
    early = site.folder / "early.db"
    clock = VirtualClock(_START)
    async with _opened(site, "lived", url, clock) as governing:
        plan = _retention(site, governing)
        (worker,) = governing.plans(["agent"], work)
        beside = 0
        for day in range(1, days + 1):
            # Those of the night before are of this day: each day has as many.
            lived.spans_of_day[day] = await _live_a_day(
                governing, worker, clock, min(beside, _TICKS_A_DAY - 1)
            )
            before = len(lived.beside_ms)
            await _prune(governing, worker, plan, clock, lived)
            beside = len(lived.beside_ms) - before
            lived.bytes_of_day[day] = site.stores.bytes_on_disk(url)
            if day == _FIRST:
                copy_store(Path(url.removeprefix("sqlite:///")), early)
        report = await governing.kernel.database.read(audit)
        assert report.is_clean, report.findings[:3]
    events = sum(_audited(path) for path in plan.folder.glob("retired-*"))
    assert events == lived.exported_events, (events, lived.exported_events)
    turns = await _turns(site, f"sqlite:///{early}", url, clock)
    return _figures(site, lived, turns, days)


def _audited(path: Path) -> int:
    report = audit_export(path)
    assert report.is_clean, (path, report.findings[:3])
    return report.events


@asynccontextmanager
async def _opened(site: Site, name: str, url: str, clock: VirtualClock) -> AsyncIterator[Governed]:
    folder = site.folder / name
    folder.mkdir()
    async with governed(folder, ["agent"], url=url, clock=clock) as governing:
        yield governing


def _retention(site: Site, governing: Governed) -> RetentionPlan:
    return RetentionPlan(
        keep_days=_KEEP_DAYS,
        checkpoints_kept=50,
        folder=site.folder / "exports",
        timezone=governing.loaded.timezone,
        version="bench",
    )


async def _live_a_day(
    governing: Governed, worker: WorkerPlan, clock: VirtualClock, beside: int
) -> list[float]:
    """Let a day's ticks be done, less those of its night, and return how long each took."""
    spans_ms: list[float] = []
    for _ in range(_TICKS_A_DAY - beside):
        clock.advance(_DAY_S / (_TICKS_A_DAY - beside))
        spans_ms.append(await tick_ms(governing, worker, time.perf_counter()))
    return spans_ms


async def _prune(
    governing: Governed,
    worker: WorkerPlan,
    plan: RetentionPlan,
    clock: VirtualClock,
    lived: Lived,
) -> None:
    """Export and prune while the worker ticks on, as in the daemon."""
    began_s = time.perf_counter()
    is_over = False

    async def tick_on() -> None:
        while not is_over:
            lived.beside_ms.append(await tick_ms(governing, worker, time.perf_counter()))
            await anyio.sleep(_PAUSE_S)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick_on)
        done = await retain(governing.kernel.database, plan, clock=clock)
        is_over = True
    lived.note(done, time.perf_counter() - began_s)


async def _turns(
    site: Site, early_url: str, late_url: str, late_clock: VirtualClock
) -> tuple[list[float], list[float]]:
    """Tick on both stores by turns, so that both meet the same minutes of the machine."""
    early_clock = VirtualClock(_START + timedelta(days=_FIRST))
    early_ms: list[float] = []
    late_ms: list[float] = []
    async with (
        _opened(site, "early", early_url, early_clock) as early,
        _opened(site, "late", late_url, late_clock) as late,
    ):
        sides = ((early, early_clock, early_ms), (late, late_clock, late_ms))
        for turn in range(site.pick(_TURNS, 4)):
            for governing, clock, spans_ms in sides if turn % 2 else reversed(sides):
                (worker,) = governing.plans(["agent"], work)
                for _ in range(_TURN_TICKS):
                    clock.advance(1.0)
                    spans_ms.append(await tick_ms(governing, worker, time.perf_counter()))
    return early_ms, late_ms


def _figures(
    site: Site, lived: Lived, turns: tuple[list[float], list[float]], days: int
) -> tuple[Figure, ...]:
    first, last = lived.bytes_of_day[_FIRST], lived.bytes_of_day[days]
    early, late = (statistics.median(spans) for spans in turns)
    days_ms = [statistics.median(lived.spans_of_day[day]) for day in (_FIRST, days)]
    goal = None if site.is_quick else GOAL
    ticks = days * _TICKS_A_DAY
    return (
        _figure(f"size of the store, day {days} ÷ day {_FIRST}", last / first, "times", 1, goal),
        _figure(f"size on day {_FIRST}", first / 1e6, "MB", 1),
        _figure(f"size on day {days}", last / 1e6, "MB", 1),
        _figure(
            f"tick p50 by turns, day {days} ÷ day {_FIRST}",
            late / early,
            "times",
            len(turns[1]),
            goal,
        ),
        _figure(f"tick p50 on day {_FIRST}'s store", early, "ms", len(turns[0])),
        _figure(f"tick p50 on day {days}'s store", late, "ms", len(turns[1])),
        _figure(
            f"tick p50 as lived, day {days} ÷ day {_FIRST}", days_ms[1] / days_ms[0], "times", ticks
        ),
        _figure(
            "tick p50 while it exports and prunes",
            statistics.median(lived.beside_ms),
            "ms",
            len(lived.beside_ms),
        ),
        _figure(
            "tick p99 while it exports and prunes",
            percentile(lived.beside_ms, 0.99),
            "ms",
            len(lived.beside_ms),
        ),
        _figure(
            "longest tick while it exports and prunes",
            max(lived.beside_ms),
            "ms",
            len(lived.beside_ms),
        ),
        _figure("export and prune a day", statistics.median(lived.runs_s), "s", len(lived.runs_s)),
        _figure(
            "exported bytes an event",
            lived.exported_bytes / lived.exported_events,
            "",
            len(lived.runs_s),
        ),
        _figure(
            "events in exports, all of them replayed and audited", lived.exported_events, "", 1
        ),
    )


def _figure(what: str, value: float, unit: str, samples: int, goal: Goal | None = None) -> Figure:
    return Figure(what=what, value=round(value, 4), unit=unit, samples=samples, goal=goal)
