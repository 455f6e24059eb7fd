"""The large store of a run: made once, for every part that measures on one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio

from bench.audit import fill
from bench.site import Site

EVENTS = 1_000_000
EVENTS_QUICK = 20_000


def full_store(site: Site) -> Path:
    """Return a SQLite file with as many events, which nobody may change."""
    folder = site.shared / "full"
    path = folder / "supervisor.db"
    if not path.exists():
        folder.mkdir(mode=0o700)
        anyio.run(fill, folder, site.pick(EVENTS, EVENTS_QUICK))
    return path


def events_in(path: Path) -> int:
    """Return how many events a SQLite store holds."""
    with closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
    return int(count)
