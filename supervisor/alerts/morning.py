"""The morning report: what ran, its cost and worth, what failed, what waits for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from supervisor.alerts.record import Alert, open_alerts
from supervisor.clock import from_us, iso, to_us
from supervisor.events import kinds, model_kinds, upkeep_kinds
from supervisor.events.kinds import Event
from supervisor.governance.backlog import TicketFacts, pending_tickets
from supervisor.governance.event_reading import EventReading
from supervisor.governance.figures import Figures, Totals
from supervisor.governance.kill_switch import Latch, engaged
from supervisor.governance.rotation import SYSTEM
from supervisor.governance.session import DAEMON_STOPPED, Session, SessionStatus
from supervisor.ledger.accounts import Budgets
from supervisor.ledger.holds import find_account
from supervisor.ledger.limits import ledger_now
from supervisor.money import usd_text
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction

_FAILURES_MAX = 5
_TICKETS_MAX = 20
_TEXT_MAX = 200
_FAILED = frozenset({Outcome.FAILED, Outcome.TIMED_OUT, Outcome.UNKNOWN})


class WorkerNight(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's span; `failures` are why ticks failed, the most frequent first, with counts."""

    worker: str
    totals: Totals
    failed: int
    failures: tuple[tuple[str, int], ...]


class Morning(msgspec.Struct, frozen=True, kw_only=True):
    """All that somebody should know of a span; money in micro-USD.

    `fallen` is how often another model was asked than the one that was meant.
    """

    since: str
    until: str
    workers: tuple[WorkerNight, ...]
    starts: int
    deaths: int
    spent_today: int
    cap_today: int
    alerts: tuple[Alert, ...]
    tickets: tuple[TicketFacts, ...]
    kills: tuple[Latch, ...]
    paused: tuple[str, ...]
    damaged: int
    fallen: int = 0

    @property
    def ticks(self) -> int:
        """How many ticks ended in the span, skipped ones among them."""
        return sum(sum(night.totals.ticks.values()) for night in self.workers)

    @property
    def failed(self) -> int:
        """How many ticks did not do their work."""
        return sum(night.failed for night in self.workers)

    @property
    def verdict(self) -> str:
        """Return how it went, in a sentence."""
        if self.kills:
            return "Killed: a kill switch is engaged, and what it reaches does nothing."
        if not self.ticks:
            return "Nothing ran."
        if self.failed or self.deaths or self.damaged:
            died = f", and the daemon died {_times(self.deaths)}" if self.deaths else ""
            failed = f"{self.failed} of {_ticks_text(self.ticks)} failed"
            return f"Not all went well: {failed}{died}."
        if self.alerts or self.paused:
            return "The ticks went well, and something is not over: see below."
        return f"{_ticks_text(self.ticks)} went as planned, none failed."


class _Night:
    """One worker's span while it is read."""

    def __init__(self) -> None:
        self.figures = Figures()
        self.failed = 0
        self.whys: Counter[str] = Counter()

    def add(self, event: Event) -> None:
        self.figures.add(event)
        match event:
            case kinds.CycleCompleted(outcome=outcome, why=why, code=code) if outcome in _FAILED:
                self._fail(why or code or outcome)
            case kinds.CycleRecovered():
                self._fail("the daemon died while it ran")

    def _fail(self, why: str) -> None:
        self.failed += 1
        if len(self.whys) < 10 * _FAILURES_MAX or why in self.whys:
            self.whys[why[:_TEXT_MAX]] += 1

    def told(self, worker: str) -> WorkerNight:
        return WorkerNight(
            worker=worker,
            totals=self.figures.totals(),
            failed=self.failed,
            failures=tuple(self.whys.most_common(_FAILURES_MAX)),
        )


def read_morning(tx: Transaction, budgets: Budgets, since: datetime, now: datetime) -> Morning:
    """Fold the events since a moment, and look at what is open now.

    Memory is bounded by the number of workers, not by that of events.

    Raises:
        StoreUnavailable: the store can't be read any further.
    """
    reading = EventReading(tx)
    nights: dict[str, _Night] = {}
    lives: set[str] = set()
    starts = fallen = 0
    for row, event in reading.since(to_us(since)):
        if event is None:
            continue
        if isinstance(event, kinds.DaemonStarted):
            starts += 1
        if isinstance(event, model_kinds.ModelFellBack):
            fallen += 1
        if isinstance(event, kinds.CycleRecovered | upkeep_kinds.DaemonDied):
            lives.add(event.boot_id)
        if row.worker != SYSTEM:
            nights.setdefault(row.worker, _Night()).add(event)
    cap = budgets.daily_cap(ledger_now(tx, now))
    today = find_account(tx, cap.id)
    return Morning(
        since=iso(since),
        until=iso(now),
        workers=tuple(nights[name].told(name) for name in sorted(nights)),
        starts=starts,
        deaths=len(lives),
        spent_today=today.settled if today else 0,
        cap_today=cap.limit_amount,
        alerts=tuple(open_alerts(tx)),
        tickets=tuple(pending_tickets(tx, _TICKETS_MAX)),
        kills=tuple(engaged(tx)),
        paused=tuple(_paused(tx)),
        damaged=reading.damaged_total,
        fallen=fallen,
    )


def _paused(tx: Transaction) -> Iterator[str]:
    for session in tx.rows("sessions.open_ones", Session):
        is_paused = session.status is SessionStatus.PAUSED and session.why != DAEMON_STOPPED
        if is_paused and session.worker != SYSTEM:
            yield f"session {session.id}: {session.why}"


def render(morning: Morning) -> str:
    """Return the report as Markdown."""
    sections = (
        ("", _head(morning)),
        ("What waits for you", _waiting(morning)),
        ("What failed", _failures(morning)),
        ("What ran", _table(morning)),
    )
    texts = ((heading, "\n".join(lines)) for heading, lines in sections)
    return "\n\n".join(f"## {head}\n\n{text}" if head else text for head, text in texts if text)


def _head(morning: Morning) -> Iterator[str]:
    cost = sum(night.totals.cost_micro_usd for night in morning.workers)
    worth = sum(night.totals.worth_micro_usd for night in morning.workers)
    hours = sum(night.totals.hours_saved for night in morning.workers)
    yield f"**{morning.verdict}**"
    yield ""
    yield f"- From {morning.since} to {morning.until}"
    yield f"- Cost {usd_text(cost)}; worth {usd_text(worth)}, for {hours:g} hours saved"
    yield f"- Today {usd_text(morning.spent_today)} of {usd_text(morning.cap_today)} are spent"
    if morning.starts:
        yield f"- The daemon was started {_times(morning.starts)}"
    if morning.fallen:
        which = "`supervisor events --kind model_fell_back` says which and why"
        yield f"- Another model was asked than was meant, {_times(morning.fallen)}: {which}"
    if morning.damaged:
        yield (f"- {morning.damaged} events can't be read and are not in this: `supervisor audit`")


def _waiting(morning: Morning) -> Iterator[str]:
    for kill in morning.kills:
        yield f"- kill of {kill.scope}: {_line(kill.why)}; `supervisor release` clears it"
    for ticket in morning.tickets:
        about = f"{_line(ticket.action)} {_line(ticket.resource)}".strip()
        yield (
            f"- {ticket.worker} wants {about} (until {ticket.deadline_at}):"
            f" `supervisor approvals show {ticket.id}`"
        )
    for paused in morning.paused:
        yield f"- {_line(paused)}; `supervisor sessions resume ID`"
    for alert in morning.alerts:
        since = iso(from_us(alert.raised_at))
        yield f"- {_line(alert.title)}, since {since}: {_line(alert.command)}"


def _failures(morning: Morning) -> Iterator[str]:
    for night in morning.workers:
        if not night.failed:
            continue
        yield f"- {night.worker}: {_ticks_text(night.failed)}"
        for why, count in night.failures:
            yield f"  - {_times(count)}: {_line(why)}"


def _table(morning: Morning) -> Iterator[str]:
    if not morning.workers:
        return
    yield "| worker | ticks | cost | worth |"
    yield "|---|---|---|---|"
    for night in morning.workers:
        totals = night.totals
        cost, worth = usd_text(totals.cost_micro_usd), usd_text(totals.worth_micro_usd)
        yield f"| {night.worker} | {_ticks(totals.ticks)} | {cost} | {worth} |"


def _ticks(ticks: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in ticks.items()) or "none"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _ticks_text(count: int) -> str:
    return "1 tick" if count == 1 else f"{count} ticks"


def _line(text: str) -> str:
    """Return text from elsewhere on one line that is no markup but code."""
    return " ".join(text.split())[:_TEXT_MAX].replace("<", "&lt;").replace("|", "\\|")
