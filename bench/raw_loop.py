"""What the same disk does for plain sqlite3: the yardstick of every durable rate.

One cycle is `BEGIN IMMEDIATE`, 6 inserts, 1 update, `COMMIT`, in WAL at synchronous=FULL.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

_INSERTS = 6
_PAYLOAD = "x" * 120


class RawLoop:
    """One connection of its own."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("CREATE TABLE facts (id INTEGER PRIMARY KEY, cycle INTEGER, payload TEXT)")
        run("CREATE TABLE totals (id INTEGER PRIMARY KEY, cycles INTEGER)")
        run("INSERT INTO totals VALUES (1, 0)")
        self._cycles = 0

    def rate(self, span_s: float) -> float:
        """Run cycles for that long, and return how many a second."""
        before_s = time.perf_counter()
        cycles = 0
        while (spent_s := time.perf_counter() - before_s) < span_s:
            self._cycle()
            cycles += 1
        return cycles / spent_s

    def _cycle(self) -> None:
        run = self._connection.execute
        self._cycles += 1
        run("BEGIN IMMEDIATE")
        for _ in range(_INSERTS):
            run("INSERT INTO facts (cycle, payload) VALUES (?, ?)", (self._cycles, _PAYLOAD))
        run("UPDATE totals SET cycles = cycles + 1 WHERE id = 1")
        run("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
