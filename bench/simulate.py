"""How long a month takes in the simulator."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.daemons import Worker, environment, write_config
from bench.figures import Figure, Goal
from bench.site import CannotMeasure, Site

TITLE = "30 virtual days, 3 workers, in wall time"
GOAL = Goal(target=120, aim=20)

_DAYS = 30
_SEED = 1
_EVERY_S = (300.0, 900.0, 3600.0)


def measure(site: Site) -> tuple[Figure, ...]:
    """Simulate one seed with faults, from exec to exit; its invariants must hold."""
    if subprocess.run(
        _words("--help"), check=False, env=environment(), capture_output=True
    ).returncode:
        raise CannotMeasure("this version has no `supervisor simulate`")
    workers = [
        Worker(name=f"every-{every_s:g}s", function="tick", every_s=every_s, model="quick/any")
        for every_s in _EVERY_S
    ]
    config = write_config(site.folder, workers)
    days = site.pick(_DAYS, 2)
    before_s = time.monotonic()
    _simulate(config, days)
    span_s = time.monotonic() - before_s
    goal = GOAL if days == _DAYS else None
    what = f"{days} days with faults, a worker every 5, 15 and 60 minutes"
    return (Figure(what=what, value=round(span_s, 2), unit="s", samples=1, goal=goal),)


def _words(*words: str) -> list[str]:
    return [sys.executable, "-m", "supervisor", "simulate", *words]


def _simulate(config: Path, days: int) -> None:
    words = _words(str(config), "--days", str(days), "--seed", str(_SEED), "--faults")
    done = subprocess.run(words, check=False, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
