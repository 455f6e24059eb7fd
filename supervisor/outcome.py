"""How a tick can end."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of a tick; the first four are a worker's to return, the rest the daemon's."""

    OK = "ok"
    NOOP = "noop"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    RECOVERED = "recovered"


#: What a worker may return; `None` counts as `Outcome.OK`.
WORKER_OUTCOMES = frozenset({Outcome.OK, Outcome.NOOP, Outcome.FAILED, Outcome.UNKNOWN})
#: With which a tick has done what it was to do, so that the jobs it wants are enqueued.
KEEPING_OUTCOMES = frozenset({Outcome.OK, Outcome.NOOP})
