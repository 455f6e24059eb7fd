"""What a benchmark says: figures beside their targets, and where they were taken."""

from __future__ import annotations

import importlib.util
import os
import platform
import sqlite3
import sys
from collections.abc import Sequence

import msgspec

from bench.disk import fdatasync_median_ms
from bench.stores import Kind, Stores
from supervisor.clock import Clock, iso

#: Above this an fdatasync makes a disk "slow" in performance.md's sense, in milliseconds.
SLOW_DISK_MS = 1.0


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A row's target and aim; `is_floor` says that higher figures are better."""

    target: float
    aim: float
    is_floor: bool = False

    def verdict(self, value: float) -> str:
        """Return how far `value` reaches: `aim`, `target` or `short`."""
        for name, bound in (("aim", self.aim), ("target", self.target)):
            if value >= bound if self.is_floor else value <= bound:
                return name
        return "short"

    def text(self, bound: float) -> str:
        """Return the bound with its direction."""
        return f"{'≥' if self.is_floor else '≤'} {short(bound)}"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value; `goal` is None for those that only explain another.

    `missing` says why there is no value.
    """

    what: str
    value: float
    unit: str
    samples: int
    goal: Goal | None = None
    missing: str = ""

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return the figure as a row: what, value, target, aim, verdict."""
        if self.missing:
            return self.what, self.missing, "", "", ""
        value = f"{short(self.value)} {self.unit}".strip()
        if self.goal is None:
            return self.what, value, "", "", ""
        goal = self.goal
        bounds = goal.text(goal.target), goal.text(goal.aim)
        return self.what, value, *bounds, goal.verdict(self.value)


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when figures were taken.

    `commit` is the tree's, with a `+` where it was changed since. `load` is the machine's run
    queue over the minute before. `is_lean` says that `rich` is not installed: structlog imports
    it where it is, for 20 ms of each start and 4 MiB. `is_quick` says that spans were short, so
    that the figures mean little.
    """

    date: str
    python: str
    sqlite: str
    system: str
    cpus: int
    load: float
    is_lean: bool
    fdatasync_median_ms: float
    commit: str = ""
    postgres: str = ""
    is_quick: bool = False


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one part on one database, as kept in `results/NAME.json`."""

    name: str
    title: str
    conditions: Conditions
    figures: tuple[Figure, ...]


def name_of(part: str, kind: Kind) -> str:
    """Return the name under which a part's result on a database is kept."""
    return part if kind == "sqlite" else f"{part}-{kind}"


def look_around(stores: Stores, clock: Clock, *, commit: str, is_quick: bool) -> Conditions:
    """Return the conditions now, with the fdatasync of the disk that the stores are on."""
    return Conditions(
        date=iso(clock.now()),
        python=".".join(str(part) for part in sys.version_info[:3]),
        sqlite=sqlite3.sqlite_version,
        system=f"{platform.system()} {platform.machine()}",
        cpus=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2),
        is_lean=importlib.util.find_spec("rich") is None,
        fdatasync_median_ms=round(fdatasync_median_ms(stores.folder), 3),
        commit=commit,
        postgres=stores.version if stores.kind == "postgres" else "",
        is_quick=is_quick,
    )


def short(value: float) -> str:
    """Return `value` with the digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def crew(count: int, noun: str) -> str:
    """Return `1 worker` or `32 workers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def percentile(samples: Sequence[float], rank: float) -> float:
    """Return the nearest-rank percentile; `rank` is between 0 and 1."""
    ordered = sorted(samples)
    return ordered[min(int(rank * len(ordered)), len(ordered) - 1)]


def table(result: Result) -> str:
    """Return the result as a table for a terminal."""
    head = ("", "figure", "target", "aim", "reaches")
    rows = [head, *(figure.cells() for figure in result.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([f"== {result.title}", *lines, describe(result.conditions)])


def describe(conditions: Conditions) -> str:
    """Return the conditions as a line of text."""
    database = f"SQLite {conditions.sqlite}"
    if conditions.postgres:
        database = f"Postgres {conditions.postgres}"
    parts = (
        conditions.date,
        f"commit {conditions.commit}" if conditions.commit else "",
        f"fdatasync median {short(conditions.fdatasync_median_ms)} ms",
        f"load {conditions.load:g} on {conditions.cpus} CPUs",
        f"{conditions.system}, Python {conditions.python}, {database}",
        "" if conditions.is_lean else "test extras installed",
        "short spans (--quick): these figures mean little" if conditions.is_quick else "",
    )
    return ", ".join(part for part in parts if part)
