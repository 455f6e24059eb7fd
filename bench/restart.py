"""From a worker's crash to its next tick."""

from __future__ import annotations

import statistics

from bench.daemons import Worker, running, until, write_config
from bench.figures import Figure, Goal
from bench.marks import marks
from bench.site import Site

TITLE = "crashed worker → its next tick (first restart)"
GOAL = Goal(target=50, aim=5)

_WORKERS = 20
_APART_S = 0.1


def measure(site: Site) -> tuple[Figure, ...]:
    """Let each of 20 workers crash once, one after the other."""
    files = [site.folder / f"marks-{number}" for number in range(site.pick(_WORKERS, 3))]
    workers = [
        Worker(
            name=f"w{number}",
            function="crash_once",
            options={"marks": str(file), "after_s": 1.0 + number * _APART_S},
        )
        for number, file in enumerate(files)
    ]
    with running(write_config(site.folder, workers)):
        until(lambda: all(len(marks(file)) > 1 for file in files), "every worker's restart")
    spans = [(marks(file)[1] - marks(file)[0]) / 1e6 for file in files]
    return (
        _figure("median", statistics.median(spans), len(spans)),
        _figure("worst", max(spans), len(spans)),
    )


def _figure(what: str, value_ms: float, samples: int) -> Figure:
    return Figure(what=what, value=round(value_ms, 2), unit="ms", samples=samples, goal=GOAL)
