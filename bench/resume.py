"""From kill -9 to a daemon that works again."""

from __future__ import annotations

import random
import signal
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from bench.daemons import Daemon, Worker, write_config
from bench.figures import Figure, Goal, percentile
from bench.marks import marks
from bench.site import Site

TITLE = "kill -9 → restarted daemon works again"
GOAL = Goal(target=2000, aim=500)

_KILLS = 20
_BUSY = 3
_EVERY_S = 0.005
_TICKS_BEFORE = 5


def measure(site: Site) -> tuple[Figure, ...]:
    """Kill a daemon at random moments of its work, and start it again, on one store.

    Three workers tick all the time, each with a paid call; a fourth awaits a model in vain, so
    that every life leaves a tick and a hold to recover. The first tick is over when its worker
    begins the next: it does so once the end is durable, 5 ms later.
    """
    busy = [site.folder / f"marks-{number}" for number in range(_BUSY)]
    waiting = site.folder / "waiting"
    config = _config(site, busy, waiting)
    spans: list[float] = []
    daemon = Daemon(config)
    try:
        for lives in range(1, site.pick(_KILLS, 2) + 1):
            _wait_until_at_work(daemon, busy, waiting, lives)
            time.sleep(random.uniform(0, 0.2))
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
            before = [len(marks(file)) for file in busy]
            daemon = Daemon(config)
            second_ns = _wait_for_second_mark(daemon, busy, before)
            spans.append((second_ns - daemon.started_ns) / 1e6)
    finally:
        daemon.end()
    return (
        _figure("exec → first completed tick, median", statistics.median(spans), len(spans)),
        _figure("exec → first completed tick, worst", percentile(spans, 1), len(spans)),
    )


def _figure(what: str, value_ms: float, samples: int) -> Figure:
    return Figure(what=what, value=round(value_ms, 1), unit="ms", samples=samples, goal=GOAL)


def _config(site: Site, busy: Sequence[Path], waiting: Path) -> Path:
    workers = [
        Worker(
            name=f"busy-{number}",
            function="call_model",
            every_s=_EVERY_S,
            model="quick/any",
            options={"marks": str(file)},
        )
        for number, file in enumerate(busy)
    ]
    workers.append(
        Worker(
            name="waiting",
            function="wait_for_model",
            every_s=_EVERY_S,
            model="slow/any",
            options={"marks": str(waiting)},
        )
    )
    return write_config(site.folder, workers, database=site.stores.make())


def _wait_until_at_work(daemon: Daemon, busy: Sequence[Path], waiting: Path, lives: int) -> None:
    """Wait until the workers of so many lives have ticked, and the last awaits its call."""
    wanted = [len(marks(file)) + _TICKS_BEFORE for file in busy]
    pairs = list(zip(busy, wanted, strict=True))
    daemon.wait_until(lambda: all(len(marks(file)) >= count for file, count in pairs), "work")
    begun = waiting.with_suffix(".begun")
    daemon.wait_until(lambda: len(marks(begun)) >= lives, "a call in flight")


def _wait_for_second_mark(daemon: Daemon, busy: Sequence[Path], before: Sequence[int]) -> int:
    """Wait until a worker begins its second tick of this life, and return when it did."""

    def second_marks() -> list[int]:
        left = [marks(file)[count:] for file, count in zip(busy, before, strict=True)]
        return [mine[1] for mine in left if len(mine) > 1]

    daemon.wait_until(lambda: bool(second_marks()), "a completed tick")
    return min(second_marks())
