"""Workers whose ticks fail, and go on failing or come too seldom to be waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from supervisor.alerts.facts import Fact, Severity
from supervisor.alerts.record import SEEN, Alert
from supervisor.clock import iso

#: What a worker may fail for before somebody is told: the next tick may go well.
FAILING_MIN = timedelta(minutes=10)
_SKIPPED = "skipped"


class WorkerNews(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's last tick, as far as alerts ask for it.

    `failing_since` is when the first tick failed after which none has gone well, None for none.
    """

    life: str
    outcome: str
    progress_at: datetime | None
    failing_since: datetime | None = None
    why: str = ""


def failing(workers: Mapping[str, WorkerNews], known: Sequence[Alert], now: datetime) -> list[Fact]:
    """Return a fact for each worker that has failed for a while, until a tick has gone well.

    A breaker that opens, or a worker that is left stopped, is an alert of its own: neither begins
    this one, nor ends it.
    """
    open_keys = {alert.key for alert in known}
    found = []
    for name, news in sorted(workers.items()):
        fact = _fact(name, news)
        if fact is None:
            continue
        assert news.failing_since is not None, "it fails"
        is_told_otherwise = news.outcome == _SKIPPED or news.life == "failed"
        is_long = now - news.failing_since >= FAILING_MIN
        if fact.key in open_keys or (is_long and not is_told_otherwise):
            found.append(fact)
    return found


def _fact(name: str, news: WorkerNews) -> Fact | None:
    if news.failing_since is None:
        return None
    why = news.why or "see its events"
    return Fact(
        key=f"{SEEN}failing:{name}",
        severity=Severity.WARNING,
        title=f"the ticks of worker {name} fail",
        what=f"none has gone well since {iso(news.failing_since)}; the last: {why}",
        done="what failed is not kept; it ticks again as planned",
        command=f"`supervisor events --worker {name} --kind cycle_completed --limit 3`",
    )
