"""How long the playbook's agent takes for a month."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.daemons import ROOT, environment
from bench.figures import Figure, Goal
from bench.site import CannotMeasure, Site

TITLE = "A month of the playbook's agent, in wall time"
#: The known library needs 10 to 32 s for its own, of 720 cycles too.
GOAL = Goal(target=10, aim=5)

_EXAMPLE = ROOT / "examples" / "long_running_autonomous_agent.py"


def measure(site: Site) -> tuple[Figure, ...]:
    """Run the example from exec to exit; its scorecard must equal its events."""
    if not _EXAMPLE.exists():
        raise CannotMeasure("this version has no such example")
    horizon = site.pick("month", "day")
    folder = site.folder / "month"
    words = [sys.executable, str(_EXAMPLE), "--horizon", horizon, "--folder", str(folder)]
    before_s = time.monotonic()
    done = subprocess.run(words, check=False, env=environment(), capture_output=True, text=True)
    span_s = time.monotonic() - before_s
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    what = f"--horizon {horizon}, with its scorecard and its audit"
    goal = GOAL if horizon == "month" else None
    return (Figure(what=what, value=round(span_s, 2), unit="s", samples=1, goal=goal),)
