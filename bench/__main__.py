"""`python -m bench [NAME ...]`: measure all or the named, then write docs/performance.md."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from bench import report
from bench.daemons import ROOT
from bench.figures import NAMES, Figure, Result, keep, look_around, table
from supervisor.clock import SystemClock

EXIT_USAGE = 64


class Benchmark(Protocol):
    """What a module of a measurement has."""

    TITLE: str

    def measure(self, folder: Path) -> tuple[Figure, ...]:
        """Measure, with everything written under `folder`."""
        ...


def main(arguments: Sequence[str]) -> int:
    """Measure what is asked for, print the tables, and render the report."""
    unknown = [name for name in arguments if name not in (*NAMES, "report")]
    if unknown:
        known = " ".join((*NAMES, "report"))
        sys.stderr.write(f"error[usage]: bench {unknown[0]}: is not known; name any of: {known}\n")
        return EXIT_USAGE
    for name in arguments or NAMES:
        if name != "report":
            print(table(_run(name)), end="\n\n", flush=True)
    print(f"rendered {report.write().relative_to(ROOT)}")
    return 0


def _run(name: str) -> Result:
    benchmark = cast("Benchmark", importlib.import_module(f"bench.{name}"))
    # Where the shipped config's store is too: a temporary folder may be in memory only.
    state_dir = ROOT / "var"
    state_dir.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=state_dir) as made:
        folder = Path(made)
        conditions = look_around(folder, SystemClock())
        figures = benchmark.measure(folder)
    result = Result(name=name, title=benchmark.TITLE, conditions=conditions, figures=figures)
    keep(result)
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
