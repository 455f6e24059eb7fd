"""From the start of the process to its first tick."""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.daemons import Daemon, Worker, until, write_config
from bench.figures import Figure, Goal
from bench.marks import marks
from bench.site import Site

TITLE = "process start → first tick"
GOAL = Goal(target=300, aim=150)

_STARTS = 15


def measure(site: Site) -> tuple[Figure, ...]:
    """Start daemons with a worker that does nothing, each on a new store and then on that store."""
    starts = site.pick(_STARTS, 2)
    first: list[float] = []
    again: list[float] = []
    bare: list[float] = []
    for number in range(starts + 1):
        home = site.folder / f"start-{number}"
        home.mkdir()
        left = home / "marks"
        worker = Worker(name="trivial", function="tick", options={"marks": str(left)})
        config = write_config(home, [worker])
        first.append(_first_tick_ms(config, left))
        again.append(_first_tick_ms(config, left))
        bare.append(_bare_ms())
    # The first start of all compiles bytecode: an installation's, not a start's.
    first, again, bare = first[1:], again[1:], bare[1:]
    return (
        _figure("existing store, median", statistics.median(again), starts, GOAL),
        _figure("existing store, worst", max(again), starts),
        _figure("new store, median", statistics.median(first), starts, GOAL),
        _figure("of that: this Python, start to exit, median", statistics.median(bare), starts),
    )


def _figure(what: str, value_ms: float, samples: int, goal: Goal | None = None) -> Figure:
    return Figure(what=what, value=round(value_ms, 2), unit="ms", samples=samples, goal=goal)


def _first_tick_ms(config: Path, left: Path) -> float:
    before = len(marks(left))
    daemon = Daemon(config)
    try:
        until(lambda: len(marks(left)) > before, "the first tick")
        daemon.wait_ready()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_ended()
    finally:
        daemon.end()
    return (marks(left)[before] - daemon.started_ns) / 1e6


def _bare_ms() -> float:
    before_s = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return (time.monotonic() - before_s) * 1000
