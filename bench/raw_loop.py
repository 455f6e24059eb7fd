"""What the same disk does without the product: the yardstick of every durable rate.

One cycle is `BEGIN`, 6 inserts, 1 update, `COMMIT`, each on its own, by the plain driver: sqlite3
in WAL at synchronous=FULL, or psycopg at synchronous_commit=on.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Protocol

_INSERTS = 6
_PAYLOAD = "x" * 120


class RawLoop(Protocol):
    """One connection of its own."""

    def cycle(self) -> None:
        """Do it once; it is durable then."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


def rate(loop: RawLoop, span_s: float) -> float:
    """Run cycles for that long, and return how many a second."""
    before_s = time.perf_counter()
    cycles = 0
    while (spent_s := time.perf_counter() - before_s) < span_s:
        loop.cycle()
        cycles += 1
    return cycles / spent_s


class SqliteLoop:
    """Cycles on a file of their own."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("CREATE TABLE facts (id INTEGER PRIMARY KEY, cycle INTEGER, payload TEXT)")
        run("CREATE TABLE totals (id INTEGER PRIMARY KEY, cycles INTEGER)")
        run("INSERT INTO totals VALUES (1, 0)")
        self._cycles = 0

    def cycle(self) -> None:
        run = self._connection.execute
        self._cycles += 1
        run("BEGIN IMMEDIATE")
        for _ in range(_INSERTS):
            run("INSERT INTO facts (cycle, payload) VALUES (?, ?)", (self._cycles, _PAYLOAD))
        run("UPDATE totals SET cycles = cycles + 1 WHERE id = 1")
        run("COMMIT")

    def close(self) -> None:
        self._connection.close()


class PostgresLoop:
    """Cycles in a database of their own; psycopg prepares each statement after its fifth run."""

    def __init__(self, url: str) -> None:
        # Imported here: SQLite is measured where there is no psycopg.
        import psycopg

        self._connection = psycopg.connect(url, autocommit=True)
        run = self._connection.execute
        run("SET synchronous_commit = on")
        run(
            "CREATE TABLE facts"
            " (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, cycle BIGINT, payload TEXT)"
        )
        run("CREATE TABLE totals (id BIGINT PRIMARY KEY, cycles BIGINT)")
        run("INSERT INTO totals VALUES (1, 0)")
        self._cycles = 0

    def cycle(self) -> None:
        run = self._connection.execute
        self._cycles += 1
        run("BEGIN")
        for _ in range(_INSERTS):
            run("INSERT INTO facts (cycle, payload) VALUES (%s, %s)", (self._cycles, _PAYLOAD))
        run("UPDATE totals SET cycles = cycles + 1 WHERE id = 1")
        run("COMMIT")

    def close(self) -> None:
        self._connection.close()
