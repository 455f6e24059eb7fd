"""Other people's job queues, each in a process and an environment of its own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.daemons import ROOT
from bench.site import CannotMeasure

_PINS = ROOT / "bench" / "peers.txt"
_INSTALL_S = 300.0
_RUN_S = 300.0


class PeerRates(msgspec.Struct, frozen=True):
    """What a peer did with so many callers, then with so many workers: jobs a second."""

    enqueued: float
    executed: float


class PeerStarts(msgspec.Struct, frozen=True):
    """How long after it was enqueued each job of an idle worker began, in milliseconds."""

    spans_ms: list[float]


class Peer:
    """One of them: `script` is a module of this folder that its own Python runs."""

    def __init__(self, name: str, python: Path) -> None:
        self.name = name
        self._python = python
        self._script = ROOT / "bench" / f"peer_{name}.py"

    def rates(self, store: str, *, crew: int, span_s: float) -> PeerRates:
        """Enqueue for `span_s` by as many callers, one job after the other, then do them all."""
        return msgspec.json.decode(self._run("rates", store, crew, span_s), type=PeerRates)

    def starts(self, store: str, *, jobs: int, pause_s: float) -> PeerStarts:
        """Enqueue `jobs` for one idle worker in the same process, with a pause before each."""
        return msgspec.json.decode(self._run("starts", store, jobs, pause_s), type=PeerStarts)

    def _run(self, *words: str | float) -> bytes:
        command = [str(self._python), str(self._script), *map(str, words)]
        told = subprocess.run(command, check=False, capture_output=True, timeout=_RUN_S)
        if told.returncode != 0:
            last = told.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise CannotMeasure(f"{self.name} failed: {''.join(last)}")
        return told.stdout.splitlines()[-1]


def install(name: str) -> Peer:
    """Return a peer, in an environment that is made once for each state of the pins.

    Raises:
        CannotMeasure: it could not be installed.
    """
    digest = hashlib.sha256(_PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = ROOT / "var" / f"bench-peers-{digest}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            _call([Path(sys.executable), "-m", "venv", folder])
            _call([python, *quiet, "--no-deps", "-r", _PINS])
        except (OSError, subprocess.SubprocessError) as error:
            raise CannotMeasure(f"{name} could not be installed: {_why(error)}") from error
        (folder / "ready").touch()
    return Peer(name, python)


def _call(command: list[str | Path]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_S)


def _why(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit {error.returncode}"
    return type(error).__name__
