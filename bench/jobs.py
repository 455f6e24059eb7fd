"""Jobs: enqueued and done a second, and how soon an idle worker begins; beside others' queues."""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, field

import anyio

from bench.disk import fdatasync_median_ms
from bench.figures import SLOW_DISK_MS, Figure, Goal, crew, percentile
from bench.governed import governed
from bench.job_load import JobLoad
from bench.peers import Peer, PeerRates, install
from bench.raw_loop import RawLoop, rate
from bench.site import CannotMeasure, Site

TITLE = "jobs"
ENQUEUE_GOAL = Goal(target=4400, aim=10_000, is_floor=True)
EXECUTE_GOAL = Goal(target=4200, aim=10_000, is_floor=True)
START_GOAL = Goal(target=3.3, aim=1.0)

#: Callers, and workers; the first of them is promised.
_CREWS = (16, 1)
_ROUNDS = 5
_SPAN_S = 1.0
_STARTS = 400
_STARTS_QUICK = 20
#: Long enough for a worker that has done its job to find no other.
_PAUSE_S = 0.02
#: huey's waits grow while nothing comes, so that more of them would take minutes.
_PEER_STARTS = 60
_PEER_PAUSE_S = 0.1
_BY_DATABASE = {"sqlite": "huey", "postgres": "procrastinate"}


@dataclass(slots=True)
class Rates:
    """Rounds of one queue with so many callers and workers, in jobs a second."""

    who: str
    crew: int
    enqueued: list[float] = field(default_factory=list)
    executed: list[float] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Measured:
    """What all rounds gave; ratios are to the raw loop of the same seconds."""

    own: list[Rates]
    peers: list[Rates]
    raw: list[float] = field(default_factory=list)
    batched: list[float] = field(default_factory=list)
    ratios: dict[str, list[float]] = field(default_factory=lambda: {"enqueue": [], "execute": []})
    starts_ms: list[list[float]] = field(default_factory=list)
    raw_ms: list[list[float]] = field(default_factory=list)
    peer_starts_ms: list[float] = field(default_factory=list)
    disk_ms: list[float] = field(default_factory=list)
    missing: str = ""


def measure(site: Site) -> tuple[Figure, ...]:
    """Take turns with the raw loop and with the other queue of this database, round by round."""
    name = _BY_DATABASE[site.stores.kind]
    measured = Measured(
        own=[Rates("", count) for count in _CREWS],
        peers=[Rates(f"{name}: ", count) for count in _CREWS],
    )
    peer: Peer | None = None
    try:
        peer = install(name)
    except CannotMeasure as error:
        measured.missing = str(error)
        sys.stderr.write(f"bench: {error}\n")
    anyio.run(_measure, site, measured, peer)
    peers = _peer_figures(measured, name)
    return (*_own_figures(measured), *peers, *_conditions(measured))


async def _measure(site: Site, measured: Measured, peer: Peer | None) -> None:
    names = [f"w{number}" for number in range(max(_CREWS))]
    raw, url = site.stores.raw_loop(), site.stores.make()
    async with governed(site.folder, names, url=url) as governing:
        load = JobLoad(governing)
        # Every worker's session and accounts are opened before the clock runs.
        await load.enqueue_for(0.1, names)
        await load.drain(names)
        for _ in range(site.pick(_ROUNDS, 1)):
            measured.disk_ms.append(fdatasync_median_ms(site.stores.folder))
            await _round(site, measured, load, raw)
            measured.batched.append(await load.enqueue_with_ticks(1, names[:4]))
            await load.drain(names)
            starts = site.pick(_STARTS, _STARTS_QUICK)
            measured.starts_ms.append(await load.starts_ms(starts, _PAUSE_S, ("w0", "w1")))
            measured.raw_ms.append(_raw_ms(raw, starts))
            if peer is not None:
                await _peer_round(site, measured, peer)
    raw.close()
    if peer is not None:
        starts = site.pick(_PEER_STARTS, 5)
        measured.peer_starts_ms = peer.starts(
            _peer_store(site), jobs=starts, pause_s=_PEER_PAUSE_S
        ).spans_ms


async def _round(site: Site, measured: Measured, load: JobLoad, raw: RawLoop) -> None:
    span_s = site.pick(_SPAN_S, 0.2)
    for rates in measured.own:
        names = [f"w{number}" for number in range(rates.crew)]
        measured.raw.append(rate(raw, span_s / 2))
        rates.enqueued.append(await load.enqueue_for(span_s, names))
        rates.executed.append(await load.drain(names))
        measured.raw.append(rate(raw, span_s / 2))
        if rates is measured.own[0]:
            beside = statistics.mean(measured.raw[-2:])
            measured.ratios["enqueue"].append(rates.enqueued[-1] / beside)
            measured.ratios["execute"].append(rates.executed[-1] / beside)


def _raw_ms(raw: RawLoop, times: int) -> list[float]:
    """Return how long a cycle of the raw loop takes after as much of nothing."""
    spans_ms: list[float] = []
    for _ in range(times):
        time.sleep(_PAUSE_S)
        before_s = time.perf_counter()
        raw.cycle()
        spans_ms.append((time.perf_counter() - before_s) * 1000)
    return spans_ms


async def _peer_round(site: Site, measured: Measured, peer: Peer) -> None:
    for rates in measured.peers:
        # In this thread: nothing else of ours runs meanwhile.
        told: PeerRates = peer.rates(
            _peer_store(site), crew=rates.crew, span_s=site.pick(_SPAN_S, 0.2)
        )
        rates.enqueued.append(told.enqueued)
        rates.executed.append(told.executed)


def _peer_store(site: Site) -> str:
    if site.stores.kind == "sqlite":
        return str(site.stores.folder / f"store-peer-{time.monotonic_ns()}.db")
    return site.stores.make()


def _own_figures(measured: Measured) -> list[Figure]:
    is_fast = statistics.median(measured.disk_ms) < SLOW_DISK_MS
    figures: list[Figure] = []
    for rates in measured.own:
        is_promised = is_fast and rates.crew == _CREWS[0]
        goals = (ENQUEUE_GOAL, EXECUTE_GOAL) if is_promised else (None, None)
        figures += _rate_figures(rates, goals)
    figures.append(_figure("enqueue, 1,000 with each tick's end", measured.batched, "jobs/s", None))
    promised = crew(_CREWS[0], "caller"), crew(_CREWS[0], "worker")
    for what, who in zip(("enqueue", "execute"), promised, strict=True):
        figures.append(_figure(f"{what}, {who}, ÷ raw loop", measured.ratios[what], "times", None))
    waits = (
        ("enqueue → start, idle worker", measured.starts_ms, START_GOAL),
        ("raw loop, one cycle after as long a wait", measured.raw_ms, None),
    )
    for text, spans_ms, start_goal in waits:
        for rank in (0.5, 0.99):
            rounds = [percentile(one, rank) for one in spans_ms]
            bound = start_goal if rank == 0.99 else None
            figures.append(_figure(f"{text}, p{rank * 100:.0f}", rounds, "ms", bound))
    return figures


def _peer_figures(measured: Measured, name: str) -> list[Figure]:
    if measured.missing:
        return [Figure(what=name, value=0.0, unit="", samples=0, missing=measured.missing)]
    figures = [figure for rates in measured.peers for figure in _rate_figures(rates, (None, None))]
    spans_ms = measured.peer_starts_ms
    return figures + [
        Figure(
            what=f"{name}: enqueue → start, idle worker, p{rank * 100:.0f}",
            value=round(percentile(spans_ms, rank), 3),
            unit="ms",
            samples=len(spans_ms),
        )
        for rank in (0.5, 0.99)
    ]


def _rate_figures(rates: Rates, goals: tuple[Goal | None, Goal | None]) -> list[Figure]:
    callers, workers = crew(rates.crew, "caller"), crew(rates.crew, "worker")
    return [
        _figure(f"{rates.who}enqueue one by one, {callers}", rates.enqueued, "jobs/s", goals[0]),
        _figure(f"{rates.who}execute, {workers}", rates.executed, "jobs/s", goals[1]),
    ]


def _conditions(measured: Measured) -> list[Figure]:
    return [
        _figure("raw loop", measured.raw, "cycles/s", None),
        _figure("fdatasync in these minutes, median", measured.disk_ms, "ms", None),
    ]


def _figure(what: str, rounds: list[float], unit: str, goal: Goal | None) -> Figure:
    """Return the median of all rounds."""
    value = round(statistics.median(rounds), 4)
    return Figure(what=what, value=value, unit=unit, samples=len(rounds), goal=goal)
