"""The product's transactions around ticks, sessions and kills, called as a daemon calls them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from supervisor.errors import Refusal
from supervisor.events.log import EventRow, Origin
from supervisor.governance.audit import audit
from supervisor.governance.kill_switch import KillCommand, Latched, engage, release
from supervisor.governance.rotation import (
    SessionPlan,
    open_session_of,
    pause_session,
    resume_session,
)
from supervisor.governance.session import Session, SessionWithTotals
from supervisor.governance.session_commands import AbortCommand, Aborted, abort
from supervisor.ledger.accounts import Amounts, Budgets
from supervisor.ledger.holds import Hold, HoldRequest, HoldStatus
from supervisor.lifecycle import Life, begin_life, end_life, record_reload
from supervisor.maintenance.recovery import Findings, recover
from supervisor.outcome import Outcome
from supervisor.storage.database import Database, Transaction
from supervisor.worker import placing
from supervisor.worker.placing import Granted, HoldEnd, end_holds
from supervisor.worker.records import (
    Ending,
    Skipped,
    Started,
    TakenElsewhere,
    TickRequest,
    begin_tick,
    finish_tick,
)
from tests.properties.ledger_world import StillClock, budgets_of
from tests.properties.stores import Answering, Store, finished

MODEL = "p/x"
_PAGE_ROWS = 500
_LIMITS = {
    ("system", "day", "micro_usd"): 10_000_000,
    ("session", "session", "micro_usd"): 10_000_000,
    ("session", "session", "actions"): 10_000,
}


@dataclass(slots=True)
class Telling:
    """A session as its events tell it, folded without the product's own counters."""

    seq: int = 0
    digest: bytes = b""
    counters: dict[str, object] = field(default_factory=dict)


class World:
    """A daemon's store, its workers and its clock."""

    def __init__(self, store: Store, zone: ZoneInfo, now: datetime, *, boots: int = 0) -> None:
        """Take a store that has seen `boots` lives."""
        self.store = store
        self.zone = zone
        self.clock = StillClock(now)
        self.budgets: Budgets = budgets_of(_LIMITS, zone)
        self.spans: dict[str, int] = {}
        self.running: dict[str, Started] = {}
        self.ends: dict[str, list[HoldEnd]] = {}
        self.tellings: dict[str, Telling] = {}
        self._boots = boots
        self._calls = 0
        self._position = 0

    @property
    def boot_id(self) -> str:
        return f"boot-{self._boots}"

    @property
    def life(self) -> Life:
        return Life(boot_id=self.boot_id, pid=1, host="here", version="0")

    def origin(self, command_id: str = "", actor: str = "test") -> Origin:
        return Origin(at=self.clock.at, actor=actor, command_id=command_id)

    # --- lives

    def start(self, spans: dict[str, int]) -> Findings:
        """Begin a life with these workers and the seconds of their windows."""
        self._boots += 1
        self.spans = dict(spans)
        self.running.clear()
        self.ends.clear()
        self.store.write(begin_life, self.life, list(spans), self.budgets, self.origin())
        database: Database = Answering(self.store)  # type: ignore[assignment] # only its writes
        return finished(
            recover(
                database,
                boot_id=self.boot_id,
                clock=self.clock,
                timezone=self.zone,
                workers=set(spans),
            )
        )

    def stop(self) -> None:
        """End the life as SIGTERM does: ticks are cancelled first."""
        for worker in list(self.running):
            self.finish(worker, Outcome.CANCELLED)
        self.store.write(end_life, self.life, self.zone, self.origin(), why="asked to")

    def reload(self, spans: dict[str, int]) -> None:
        """Re-read the config with other windows."""
        self.spans = dict(spans)
        self.store.write(record_reload, ("session",), list(spans), self.budgets, self.origin())

    # --- ticks and calls

    def begin(self, worker: str) -> Started | Skipped:
        request = TickRequest(
            boot_id=self.boot_id,
            session=SessionPlan(worker=worker, span_s=self.spans[worker], timezone=self.zone),
            budgets=self.budgets,
            model=MODEL,
            is_free=False,
        )
        begun = self.store.write(begin_tick, request, self.origin(actor=f"worker:{worker}"))
        assert not isinstance(begun, TakenElsewhere)
        if isinstance(begun, Started):
            self.running[worker] = begun
        return begun

    def place(self, worker: str) -> Hold | Refusal:
        """Ask for a call in the worker's tick."""
        self._calls += 1
        started = self.running[worker]
        request = HoldRequest(
            id=f"{worker}#{started.tick}.{self._calls}",
            boot_id=self.boot_id,
            worker=worker,
            session_id=started.session.id,
            tick=started.tick,
            model=MODEL,
            what="test",
            amounts=Amounts(cost=7, tokens=3, actions=1),
        )
        placed = self.store.write(
            placing.place, request, None, self.budgets, self.origin(request.id)
        )
        if isinstance(placed, Granted):
            return placed.hold
        assert isinstance(placed, Refusal), f"without a bid it is no probe's to wait for: {placed}"
        return placed

    def settle(self, hold: Hold, cost: int, *, is_put_off: bool = False) -> None:
        """End a call, at once or in the transaction that ends its tick."""
        end = HoldEnd(
            hold=hold,
            status=HoldStatus.SETTLED,
            origin=self.origin(hold.id),
            actual=Amounts(cost=cost, tokens=2, actions=1),
        )
        if is_put_off:
            self.ends.setdefault(hold.worker, []).append(end)
        else:
            self.store.write(end_holds, hold.session_id, [end])

    def finish(self, worker: str, outcome: Outcome, note: str | None = None) -> None:
        started, ends = self.running.pop(worker), self.ends.pop(worker, [])
        ending = Ending(
            worker=worker,
            tick=started.tick,
            session_id=started.session.id,
            outcome=outcome,
            duration_s=0.5,
            checkpoint_every=3,
            state='{"n":1}',
            handoff_note=note,
        )
        origin = self.origin(actor=f"worker:{worker}")
        assert self.store.write(finish_tick, ending, origin, ends)
        assert not self.store.write(finish_tick, ending, self.origin(), ends), "it ended twice"

    # --- what a person does

    def kill(self, scope: str, command_id: str, *, is_engaged: bool) -> Latched:
        turn = engage if is_engaged else release
        command = KillCommand(scope=scope, why="a test")
        return self.store.write(turn, command, self.origin(command_id, "ann"), self.zone)

    def pause(self, session: Session) -> None:
        self.store.write(pause_session, session, self.origin(actor="ann"), why="a person")

    def resume(self, session: Session) -> None:
        self.store.write(resume_session, session, self.origin(actor="ann"), why="a person")

    def abort(self, session_id: str, command_id: str) -> Aborted:
        command = AbortCommand(session_id=session_id, why="a test")
        return self.store.write(abort, command, self.origin(command_id, "ann"))

    # --- what is there

    def open_session(self, worker: str) -> Session | None:
        return self.store.write(open_session_of, worker)

    def sessions(self) -> list[SessionWithTotals]:
        return self.store.write(_sessions)

    def read_events(self) -> Iterator[EventRow]:
        """Yield what was written since this was last asked, each checked and folded."""
        while page := self.store.write(_events, self._position):
            self._position = page[-1].position
            for row in page:
                self._follow(row)
                yield row

    def _follow(self, row: EventRow) -> None:
        telling = self.tellings.setdefault(row.session_id, Telling())
        assert row.seq == telling.seq + 1, f"{row.session_id}: {row.seq} after {telling.seq}"
        assert row.hash == chained(telling.digest, row)
        telling.seq, telling.digest = row.seq, row.hash
        fold(telling.counters, row.kind, json.loads(row.payload))

    def prove(self) -> None:
        report = self.store.write(audit)
        assert report.findings == (), report.findings


def chained(previous: bytes, row: EventRow) -> bytes:
    """Return the hash that ARCHITECTURE.md asks for, worked out anew."""
    columns = (
        row.session_id, str(row.seq), str(row.at), row.kind, row.actor, row.correlation_id,
        row.command_id, "1" if row.state_bearing else "0", row.payload,
    )  # fmt: skip
    digest = hashlib.sha256(previous)
    for column in columns:
        digest.update(f"{len(column)}:{column}".encode())
    return digest.digest()


def fold(counters: dict[str, object], kind: str, payload: dict[str, object]) -> None:
    """Add an event to a session's totals, in the form in which they are stored."""

    def count(group: str, key: object) -> None:
        counts = counters.setdefault(group, {})
        assert isinstance(counts, dict)
        counts[key] = counts.get(key, 0) + 1

    def add(name: str, amount: object) -> None:
        before = counters.get(name, 0)
        assert isinstance(before, int)
        assert isinstance(amount, int)
        if before + amount:
            counters[name] = before + amount

    ended = {"cycle_skipped": "skipped", "cycle_recovered": "recovered"}
    if kind in ended or kind == "cycle_completed":
        count("ticks", payload["outcome"] if kind == "cycle_completed" else ended[kind])
    if kind in ("cycle_skipped", "call_refused"):
        count("refusals", payload["code"])
    if kind in ("budget_exhausted", "token_budget_exhausted"):
        add("budget_exhaustions", 1)
    if kind in ("hold_placed", "hold_released", "hold_settled", "hold_forfeited"):
        count("holds", kind.removeprefix("hold_"))
    if kind in ("hold_settled", "hold_forfeited"):
        for name in ("cost", "tokens", "actions"):
            add(name, payload[name])
    _fold_approval(kind, payload, count, add)


def _fold_approval(
    kind: str,
    payload: dict[str, object],
    count: Callable[[str, object], None],
    add: Callable[[str, object], None],
) -> None:
    if kind == "approval_granted":
        add("approvals", 1)
    if kind in ("approval_denied", "approval_timed_out"):
        add("denials", 1)
        count("denials_by_code", payload["code"] if kind == "approval_denied" else "expired")
    if kind in ("execution_completed", "execution_failed"):
        count("executions", "executed" if kind == "execution_completed" else "failed")


def _sessions(tx: Transaction) -> list[SessionWithTotals]:
    return tx.rows("sessions.page", SessionWithTotals, worker=None, rows_max=10_000)


def _events(tx: Transaction, position: int) -> Sequence[EventRow]:
    return tx.rows(
        "events.after",
        EventRow,
        position=position,
        session_id=None,
        worker=None,
        kind=None,
        correlation_id=None,
        since=None,
        rows_max=_PAGE_ROWS,
    )


def stamp(moment: datetime) -> str:
    """Return a window's start as a session's id shows it: no seconds where there are none."""
    return f"{moment:%Y-%m-%dT%H:%MZ}"


def sealed_as(telling: Telling) -> dict[str, object]:
    """Return the summary that a session with these events has to be sealed with."""
    return {
        "counters": telling.counters,
        "first_seq": 1,
        "last_seq": telling.seq,
        "last_hash": telling.digest.hex(),
    }


def decoded(text: str) -> object:
    value: object = msgspec.json.decode(text)
    return value
