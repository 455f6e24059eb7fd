"""What a run of the harness has seen: kills, points, resume times, violations."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.life import Effort, Life


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A broken promise, and all that is needed to look at it and to try it again."""

    what: str
    fate: str
    life: int
    folder: Path
    reproduce: str

    def __str__(self) -> str:
        return (
            f"VIOLATION  {self.what}\n  life {self.life} of {self.folder}, killed: {self.fate}\n"
            f"  {self.reproduce}"
        )


@dataclass(slots=True)
class Record:
    """Counts of all lanes together; its lock makes each note one step."""

    kills: int = 0
    points: Counter[str] = field(default_factory=Counter)
    by: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    resumes_s: list[float] = field(default_factory=list)
    #: Without the time for which other processes had the CPUs.
    resumes_own_s: list[float] = field(default_factory=list)
    slowest: str = ""
    resumes_cpu_s: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    seeds: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_life(self, life: Life) -> None:
        """Note a life that was killed."""
        with self._lock:
            self.kills += 1
            self.seen |= life.seen.keys()
            by = (
                life.fate.by
                if life.hit or life.fate.by in ("outside", "start")
                else "outside, its point was missed"
            )
            self.by[by] += 1
            if not life.has_worked:
                self.counts["killed before or in recovery"] += 1
            if life.hit:
                self.points[life.hit] += 1

    def add_resume(self, seconds: float, effort: Effort, *, after: str) -> None:
        """Note the span from an exec to the end of the first tick, and what it took.

        `after` is how the life before ended, for the slowest.
        """
        own_s = max(seconds - effort.waited_s, 0.0)
        with self._lock:
            if own_s > max(self.resumes_own_s, default=0.0):
                self.slowest = f"{own_s:.2f} s of its own, {seconds:.2f} s in all, after {after}"
            self.resumes_s.append(seconds)
            self.resumes_own_s.append(own_s)
            self.resumes_cpu_s.append(effort.cpu_s)

    def add_seed(self, seed: str) -> None:
        """Note the seed of a campaign."""
        with self._lock:
            self.seeds.append(seed)

    def add_violation(self, violation: Violation) -> None:
        """Note a broken promise."""
        with self._lock:
            self.violations.append(violation)

    def count(self, what: str, number: int = 1) -> None:
        """Count something else."""
        with self._lock:
            self.counts[what] += number

    def add_points(self, life: Life) -> None:
        """Note the points of a life that was not killed."""
        with self._lock:
            self.seen |= life.seen.keys()

    def points_seen(self) -> set[str]:
        """Return every point that any life has passed."""
        with self._lock:
            return set(self.seen)

    def progress(self) -> str:
        """Return where the run stands, in a line."""
        with self._lock:
            unhit = len(self.seen - self.points.keys())
            return (
                f"{self.kills} kills, {len(self.seen)} points seen, {unhit} not hit yet, "
                f"{len(self.violations)} violations"
            )

    def report(self) -> str:
        """Return the whole, for a person."""
        lines = [
            f"kills        {self.kills}",
            *(f"  {name:<36} {count}" for name, count in self.by.most_common()),
            *(f"{name:<38} {count}" for name, count in sorted(self.counts.items())),
            f"resume       {resume_text(self.resumes_s)}",
            f"  its own    {resume_text(self.resumes_own_s)} (without waiting for a CPU)",
            f"  on a CPU   {resume_text(self.resumes_cpu_s)}",
            f"  slowest    {self.slowest}",
            f"fault points {len(self.seen)} seen, {len(self.points)} hit",
            *(f"  {count:>5}  {name}" for name, count in sorted(self.points.items())),
            *(f"      0  {name}" for name in sorted(self.seen - self.points.keys())),
            f"campaigns    {len(self.seeds)}: {' '.join(self.seeds)}",
            *(str(violation) for violation in self.violations),
            f"violations   {len(self.violations)}",
        ]
        return "\n".join(lines)

    def as_json(self) -> str:
        """Return the figures for a file."""
        return json.dumps(
            {
                "kills": self.kills,
                "by": self.by,
                "counts": self.counts,
                "points": dict(sorted(self.points.items())),
                "points_not_hit": sorted(self.seen - self.points.keys()),
                "resume_s": _figures(self.resumes_s),
                "resume_own_s": _figures(self.resumes_own_s),
                "resume_cpu_s": _figures(self.resumes_cpu_s),
                "slowest": self.slowest,
                "seeds": self.seeds,
                "violations": [str(violation) for violation in self.violations],
            },
            indent=1,
        )


def resume_text(spans_s: Sequence[float]) -> str:
    """Return median, p99 and maximum of spans."""
    if not spans_s:
        return "never"
    return (
        f"median {percentile(spans_s, 0.5):.2f} s, p99 {percentile(spans_s, 0.99):.2f} s, "
        f"max {max(spans_s):.2f} s of {len(spans_s)}"
    )


def percentile(spans_s: Sequence[float], rank: float) -> float:
    """Return the span that `rank` of all do not exceed, 0 where there are none."""
    ordered = sorted(spans_s)
    return ordered[min(int(rank * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def _figures(spans_s: Sequence[float]) -> dict[str, float]:
    return {
        "median": percentile(spans_s, 0.5),
        "p99": percentile(spans_s, 0.99),
        "max": max(spans_s, default=0.0),
        "samples": len(spans_s),
    }
