"""From SIGTERM to the end of an idle daemon."""

from __future__ import annotations

import signal
import statistics
import time
from pathlib import Path

from bench.daemons import Worker, running, until, write_config
from bench.figures import Figure, Goal
from bench.marks import marks
from bench.site import Site

TITLE = "SIGTERM → exit, idle"
GOAL = Goal(target=150, aim=30)

_STOPS = 15
_WORKERS = 10
_SETTLE_S = 0.5


def measure(site: Site) -> tuple[Figure, ...]:
    """Stop daemons whose ten workers wait."""
    left = site.folder / "marks"
    options = {"marks": str(left)}
    workers = [Worker(name=f"w{n}", function="tick", options=options) for n in range(_WORKERS)]
    config = write_config(site.folder, workers)
    spans = [_stop_ms(config, left) for _ in range(site.pick(_STOPS, 2))]
    return (
        _figure("10 waiting workers, median", statistics.median(spans), len(spans), GOAL),
        _figure("worst", max(spans), len(spans)),
    )


def _figure(what: str, value_ms: float, samples: int, goal: Goal | None = None) -> Figure:
    return Figure(what=what, value=round(value_ms, 2), unit="ms", samples=samples, goal=goal)


def _stop_ms(config: Path, left: Path) -> float:
    wanted = len(marks(left)) + _WORKERS
    with running(config) as daemon:
        until(lambda: len(marks(left)) >= wanted, "every worker's first tick")
        time.sleep(_SETTLE_S)
        before_s = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait()
        span_s = time.monotonic() - before_s
        daemon.wait_ended()
    return span_s * 1000
