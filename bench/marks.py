"""Moments that a worker leaves in a file for the process that measures it.

Nanoseconds of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

_MOMENT = struct.Struct("<q")


def leave_mark(path: Path) -> None:
    """Append the moment now."""
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    try:
        os.write(descriptor, _MOMENT.pack(time.monotonic_ns()))
    finally:
        os.close(descriptor)


def marks(path: Path) -> list[int]:
    """Return every moment that was left, in order."""
    if not path.exists():
        return []
    left = path.read_bytes()
    return [moment for (moment,) in _MOMENT.iter_unpack(left[: len(left) // 8 * 8])]
