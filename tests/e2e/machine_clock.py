"""The wall clock of the machine that a test's daemon runs on, which the test sets."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e.daemon_process import ROOT

_SITE = Path(__file__).with_name("set_clock") / "sitecustomize.py"


class MachineClock:
    """Processes that get `environment` live by it; their monotonic clock is the real one.

    To set it forward is what a suspend does: the monotonic clock stands still while it lasts.
    """

    def __init__(self, folder: Path, *, slice_s: float | None = None) -> None:
        folder.mkdir()
        self._offset = folder / "offset_s"
        self.environment = {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
        shutil.copy(_SITE, folder)
        if slice_s is not None:
            (folder / "slice_s").write_text(str(slice_s))
        self._set_offset(0.0)

    def now(self) -> datetime:
        """Return what the clock says."""
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() + self._read(), UTC)

    def set(self, moment: datetime) -> None:
        """Set it to a moment."""
        self._set_offset((moment - datetime.now(UTC)).total_seconds())

    def step(self, seconds: float) -> None:
        """Set it forward or back."""
        self._set_offset(self._read() + seconds)

    def _read(self) -> float:
        return float(self._offset.read_text())

    def _set_offset(self, seconds: float) -> None:
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(repr(seconds))
        fresh.replace(self._offset)
