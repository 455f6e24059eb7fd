"""Sets the wall clock of a process: copied into a folder of its PYTHONPATH, with its offset.

`offset_s` beside it holds the seconds by which this machine is ahead, and is read at each look, so
that a test can set the clock while the process runs. `slice_s`, where it is there, is how often a
waiting worker looks at the clock, in seconds, so that a test does not wait half a minute each time.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from supervisor.clock import SystemClock
from supervisor.worker.plan import Kernel

_HERE = Path(__file__).parent


def _now(self: SystemClock) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=float((_HERE / "offset_s").read_text()))


SystemClock.now = _now  # type: ignore[method-assign] # that is what this file is for
if (_HERE / "slice_s").exists():
    _defaults = Kernel.__init__.__kwdefaults__
    assert _defaults is not None
    _defaults["wait_slice_s"] = float((_HERE / "slice_s").read_text())
