"""What a daemon costs that has nothing to do."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from bench.daemons import ROOT, Worker, running, until, write_config
from bench.figures import Figure, Goal
from bench.marks import marks
from bench.site import Site

TITLE = "idle memory and CPU"
MEMORY_GOAL = Goal(target=45, aim=36)
CPU_GOAL = Goal(target=0.2, aim=0.05)

_WORKERS = 10
_SETTLE_S = 5.0
_WATCH_S = 45.0


def measure(site: Site) -> tuple[Figure, ...]:
    """Weigh the shipped config's daemon without and with its worker; time ten waiting workers.

    Needs /proc: Linux only.
    """
    alone = _weigh(site.folder / "alone", _shipped().partition("\n[worker.")[0])
    shipped = _weigh(site.folder / "shipped", _shipped())
    return (
        _memory("RSS, default config, daemon alone", alone["Rss"], MEMORY_GOAL),
        _memory("of that private", alone["Private_Dirty"] + alone["Private_Clean"], None),
        _memory("RSS, default config, after its first digest", shipped["Rss"], MEMORY_GOAL),
        _cpu(site.folder / "waiting", site.pick(_WATCH_S, 3.0)),
    )


def _memory(what: str, kib: int, goal: Goal | None) -> Figure:
    return Figure(what=what, value=round(kib / 1024, 2), unit="MiB", samples=1, goal=goal)


def _shipped() -> str:
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    return re.sub(r"(?m)^listen = .*$", 'listen = "127.0.0.1:0"', text)


def _weigh(home: Path, config_text: str) -> dict[str, int]:
    """Return the daemon's `smaps_rollup` in KiB, once it is idle."""
    home.mkdir()
    _make_repository(home)
    config = home / "config.toml"
    config.write_text(config_text, encoding="utf-8")
    with running(config) as daemon:
        if "[worker." in config_text:
            reports = daemon.state_dir / "reports"
            until(lambda: any(reports.glob("**/*.md")), "the first digest")
        time.sleep(_SETTLE_S)
        text = Path(f"/proc/{daemon.pid}/smaps_rollup").read_text(encoding="ascii")
    return {name: int(kib) for name, kib in re.findall(r"(?m)^(\w+):\s+(\d+) kB$", text)}


def _make_repository(home: Path) -> None:
    (home / "note.txt").write_text("one line\n", encoding="utf-8")
    person = ("-c", "user.name=Bench", "-c", "user.email=bench@example.invalid")
    for words in (("init", "-q"), ("add", "note.txt"), (*person, "commit", "-q", "-m", "Begin")):
        subprocess.run(["git", "-C", str(home), *words], check=True)


def _cpu(home: Path, watch_s: float) -> Figure:
    home.mkdir()
    left = home / "marks"
    names = [f"waiting-{number}" for number in range(_WORKERS)]
    options = {"marks": str(left)}
    config = write_config(home, [Worker(name=n, function="tick", options=options) for n in names])
    with running(config) as daemon:
        until(lambda: len(marks(left)) == _WORKERS, "every worker's first tick")
        time.sleep(_SETTLE_S)
        before_s, before_ns = time.monotonic(), _cpu_ns(daemon.pid)
        time.sleep(watch_s)
        used_s = (_cpu_ns(daemon.pid) - before_ns) / 1e9
        watched_s = time.monotonic() - before_s
    return Figure(
        what=f"CPU, {_WORKERS} waiting workers, over {watch_s:g} s",
        value=round(used_s / watched_s * 100, 4),
        unit="%",
        samples=1,
        goal=CPU_GOAL,
    )


def _cpu_ns(pid: int) -> int:
    """Return the CPU time of all threads: `stat` counts in 10 ms, too coarse for 0.05 %."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks)
