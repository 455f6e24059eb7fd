"""`python -m bench [PART ...]`: measure all or the named, then write docs/performance.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bench import records, report
from bench.daemons import ROOT
from bench.parts import PARTS
from bench.run import Run
from bench.stores import KINDS

EXIT_FAILED = 1
EXIT_USAGE = 64

_QUICK_RESULTS = ROOT / "var" / "bench-quick"


def main(arguments: Sequence[str]) -> int:
    """Measure what is asked for, print the tables, and render the report."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    known = (*PARTS, "report")
    for name in asked.parts:
        if name not in known:
            parser.error(f"{name}: is not known; name any of: {' '.join(known)}")
    results = asked.results or (_QUICK_RESULTS if asked.quick else records.RESULTS)
    failed: list[str] = []
    if asked.parts != ["report"]:
        # Where the shipped config's store is too: a temporary folder may be in memory only.
        state_dir = ROOT / "var"
        state_dir.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=state_dir) as made:
            run = Run(folder=Path(made), results=results, is_quick=asked.quick, url=asked.url)
            run.measure(
                [part for part in PARTS if part in (asked.parts or PARTS)],
                [asked.database] if asked.database else KINDS,
            )
            failed = run.failed
    print(f"rendered {report.write(results)}")
    if failed:
        sys.stderr.write(f"bench: failed: {' '.join(failed)}\n")
    return EXIT_FAILED if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{' '.join(PARTS)}, or report")
    parser.add_argument("--database", choices=KINDS, help="measure on this one only")
    parser.add_argument("--url", default="", help="of a Postgres server to make databases on")
    parser.add_argument("--quick", action="store_true", help="short spans: does it work at all?")
    parser.add_argument("--results", type=Path, help="the folder to keep figures in")
    return parser


class _Parser(argparse.ArgumentParser):
    """With the exit code of sysexits.h, as the product's."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"error[usage]: bench: {message}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
