"""How long this disk takes to make a page durable."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

_PAGE = b"\0" * 4096
_PAGES = 256
_ROUNDS = 200


def fdatasync_median_ms(folder: Path) -> float:
    """Return the median of 200 writes of a page, each made durable, in milliseconds.

    Pages are overwritten in place, as in a write-ahead log after its first checkpoint.
    """
    path = folder / "fdatasync.probe"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    # macOS has no fdatasync.
    sync = getattr(os, "fdatasync", os.fsync)
    try:
        os.write(descriptor, _PAGE * _PAGES)
        os.fsync(descriptor)
        spans_ms = []
        for number in range(_ROUNDS):
            os.pwrite(descriptor, _PAGE, (number % _PAGES) * len(_PAGE))
            before_s = time.perf_counter()
            sync(descriptor)
            spans_ms.append((time.perf_counter() - before_s) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(spans_ms)
