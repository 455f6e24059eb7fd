"""Noticing that the process has grown beyond what it may hold in memory."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import anyio

#: So many looks in a row, so that a moment's peak restarts nobody.
LOOKS_IN_A_ROW = 3
_MB = 1_000_000
_STATM = Path("/proc/self/statm")


class MemoryWatch:
    """Looks every `every_s` seconds at the resident memory, and tells once when it is too much."""

    def __init__(
        self,
        *,
        limit_mb: int,
        every_s: float,
        resident_bytes: Callable[[], int],
        on_excess: Callable[[int], None],
    ) -> None:
        """`on_excess` is told the megabytes of the last look."""
        self._limit_mb = limit_mb
        self._every_s = every_s
        self._resident_bytes = resident_bytes
        self._on_excess = on_excess
        self._in_a_row = 0

    async def run(self) -> None:
        """Look until it was too much, or until cancelled."""
        while True:
            if self.look():
                return
            await anyio.sleep(self._every_s)

    def look(self) -> bool:
        """Look once, and return whether it was too much for the last time that counts."""
        resident_mb = -(-self._resident_bytes() // _MB)
        self._in_a_row = self._in_a_row + 1 if resident_mb > self._limit_mb else 0
        if self._in_a_row < LOOKS_IN_A_ROW:
            return False
        self._on_excess(resident_mb)
        return True


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM: on macOS the most that ever was."""
    try:
        pages = int(_STATM.read_bytes().split()[1])
    except FileNotFoundError:
        # Bytes on macOS, the one system without /proc that is supported: getrusage(2) there.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * os.sysconf("SC_PAGE_SIZE")
