"""What was measured last, and what was measured before: files under `results/`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

from bench.daemons import ROOT
from bench.figures import Conditions, Result

RESULTS = ROOT / "bench" / "results"

_PAST = "history"
#: What a run itself writes; a change of these is no change of the tree.
_WRITTEN = (":!bench/results", ":!docs/performance.md")


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a history: an earlier result without its goals."""

    conditions: Conditions
    values: dict[str, float]

    @classmethod
    def of(cls, result: Result) -> Past:
        """Return what a history keeps of a result."""
        values = {figure.what: figure.value for figure in result.figures}
        return cls(conditions=result.conditions, values=values)


def keep(result: Result, folder: Path) -> None:
    """Write the result to its file, and append it to its history."""
    history = folder / _PAST / f"{result.name}.jsonl"
    history.parent.mkdir(parents=True, exist_ok=True)
    before = kept(result.name, folder)
    if before is not None and not history.exists():
        # Measured by a version that kept no history.
        _append(history, Past.of(before))
    _append(history, Past.of(result))
    path = folder / f"{result.name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def _append(history: Path, past: Past) -> None:
    with history.open("ab") as file:
        file.write(msgspec.json.encode(past) + b"\n")


def kept(name: str, folder: Path) -> Result | None:
    """Return what was measured last under this name."""
    path = folder / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=Result) if path.exists() else None


def before(result: Result, folder: Path) -> Past | None:
    """Return what was measured before this result, or None where it is the first."""
    history = folder / _PAST / f"{result.name}.jsonl"
    if not history.exists():
        return None
    lines = history.read_bytes().splitlines()
    pasts = [msgspec.json.decode(line, type=Past) for line in lines if line]
    older = [past for past in pasts if past.conditions.date < result.conditions.date]
    return older[-1] if older else None


def commit() -> str:
    """Return the short id of the tree's commit, with a `+` if it was changed; empty without git."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return f"{head}+" if _git("status", "--porcelain", "--", ".", *_WRITTEN) else head
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    told = subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True)
    return told.stdout.decode().strip()
