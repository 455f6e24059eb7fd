"""Which parts there are."""

from __future__ import annotations

#: Every part, a module of this package, in the order in which they run and are shown.
PARTS = (
    "startup",
    "idle",
    "stop",
    "kill",
    "restart",
    "resume",
    "throughput",
    "calls",
    "jobs",
    "scrape",
    "filled",
    "audit",
    "simulate",
    "month",
    "retention",
)

#: Those whose figures depend on the database; the others are measured on SQLite.
ON_BOTH = frozenset({"resume", "throughput", "calls", "jobs", "filled"})
