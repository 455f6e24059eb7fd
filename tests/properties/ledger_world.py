"""The product's own transactions around the ledger, called in turn as a daemon calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import Clock
from supervisor.errors import BudgetExceeded
from supervisor.events.log import EventRow, Journal, Origin
from supervisor.governance.audit import AuditReport, audit
from supervisor.governance.rotation import (
    SessionPlan,
    adopt_or_rotate,
    find_session,
    system_journal,
)
from supervisor.identity import Identity
from supervisor.ledger import ledger
from supervisor.ledger.accounts import Amounts, Budget, Budgets, Unit
from supervisor.ledger.holds import Account, Hold, HoldRequest, Metering, find_hold
from supervisor.ledger.periods import Period
from supervisor.lifecycle import Life, begin_life, record_reload
from supervisor.maintenance.recovery import recover
from supervisor.storage.database import Database, Transaction
from tests.properties.ledger_model import NOBODY, LimitKey, Triple, Who
from tests.properties.stores import Answering, Store, finished

P = ParamSpec("P")
T = TypeVar("T")

WORKERS = ("a", "b")
MODELS = ("p/x", "p/y")
_PAGE_ROWS = 500


class AccountRow(msgspec.Struct, frozen=True):
    """An account as stored."""

    id: str
    limit_amount: int
    settled: int
    held: int
    overrun: int


class StillClock:
    """A clock that shows what the world's owner has set."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


def budgets_of(limits: Mapping[LimitKey, int], zone: ZoneInfo) -> Budgets:
    """Return the config's limits as the product holds them."""
    return Budgets(
        [
            Budget(scope=scope, period=Period(period), unit=Unit(unit), limit_amount=limit)
            for (scope, period, unit), limit in limits.items()
        ],
        timezone=zone,
        warn_ratio=0.8,
    )


def amounts_of(triple: Triple) -> Amounts:
    cost, tokens, actions = triple
    return Amounts(cost=cost, tokens=tokens, actions=actions)


class Till:
    """A ledger with a session for each worker."""

    def __init__(
        self, store: Store, zone: ZoneInfo, limits: Mapping[LimitKey, int], now: datetime
    ) -> None:
        self.store = store
        self.zone = zone
        self.budgets = budgets_of(limits, zone)
        self.clock = StillClock(now)
        self._boots = 0
        self._position = 0
        self.sessions: dict[str, str] = {}
        self.start()

    @property
    def boot_id(self) -> str:
        return f"boot-{self._boots}"

    def origin(self) -> Origin:
        return Origin(at=self.clock.at, actor="test")

    def start(self) -> None:
        """Begin a life; those before it count as dead, and what they left open is recovered."""
        self._boots += 1
        life = Life(boot_id=self.boot_id, pid=1, host="here", version="0")
        self.store.write(begin_life, life, WORKERS, self.budgets, self.origin())
        clock: Clock = self.clock
        database: Database = Answering(self.store)  # type: ignore[assignment] # only its writes
        finished(
            recover(
                database,
                boot_id=self.boot_id,
                clock=clock,
                timezone=self.zone,
                workers=set(WORKERS),
            )
        )
        for worker in WORKERS:
            self.rotate(worker)

    def rotate(self, worker: str) -> None:
        """Give the worker its session for now; one whose window is over is closed."""
        plan = SessionPlan(worker=worker, span_s=3_600, timezone=self.zone)
        session = self.store.write(adopt_or_rotate, plan, self.origin())
        if session is not None:
            self.sessions[worker] = session.id

    def budgets_for(self, limits: Mapping[LimitKey, int]) -> Budgets:
        return budgets_of(limits, self.zone)

    def relimit(self, limits: Mapping[LimitKey, int]) -> None:
        """Reload the config."""
        self.budgets = budgets_of(limits, self.zone)
        self.store.write(record_reload, ("spend",), WORKERS, self.budgets, self.origin())

    def request(
        self,
        hold_id: str,
        *,
        worker: str,
        model: str,
        amounts: Triple,
        who: Who = NOBODY,
    ) -> HoldRequest:
        org, team, user, conversation = who
        return HoldRequest(
            id=hold_id,
            boot_id=self.boot_id,
            worker=worker,
            session_id=self.sessions[worker],
            tick=1,
            model=model,
            what="test",
            amounts=amounts_of(amounts),
            identity=Identity(org=org or None, team=team or None, user=user or None),
            conversation=conversation,
        )

    def reserve(self, request: HoldRequest) -> Hold | BudgetExceeded:
        return self._journaled(request.session_id, ledger.reserve, request, self.budgets)

    def reserve_and_fail(self, request: HoldRequest) -> None:
        """Reserve in a transaction that fails after all, as by a full disk."""

        def run(tx: Transaction, journal: Journal) -> None:
            placed = ledger.reserve(tx, journal, request, self.budgets)
            assert placed is not None
            raise Torn

        self._journaled(request.session_id, run)

    def settle(self, hold: Hold, actual: Triple) -> bool:
        return self._journaled(hold.session_id, ledger.settle, hold, amounts_of(actual), Metering())

    def release(self, hold: Hold) -> None:
        self._journaled(hold.session_id, ledger.release, hold, why="not sent")

    def forfeit(self, hold: Hold) -> None:
        self._journaled(hold.session_id, ledger.forfeit, hold, why="unknown")

    def reconcile(self, hold: Hold, cost: int) -> None:
        self._journaled("", ledger.reconcile, hold, cost)

    def _journaled(
        self,
        session_id: str,
        function: Callable[Concatenate[Transaction, Journal, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `function` with its session's journal, or the system's where that is sealed."""

        def run(tx: Transaction) -> T:
            session = find_session(tx, session_id) if session_id else None
            is_over = session is None or session.summary is not None
            origin = self.origin()
            with (
                system_journal(tx, self.zone, origin)
                if is_over
                else Journal(tx, session_id, origin)
            ) as journal:
                return function(tx, journal, *args, **kwargs)

        return self.store.write(run)

    def hold(self, hold_id: str) -> Hold | None:
        return self.store.write(find_hold, hold_id)

    def accounts(self) -> dict[str, AccountRow]:
        rows = self.store.write(_accounts)
        return {row.id: row for row in rows}

    def current(self) -> list[Account]:
        """Return the accounts whose period goes on by the wall clock or by the ledger's."""
        return self.store.write(_current)

    def new_events(self) -> Iterator[EventRow]:
        """Yield what was written since this was last asked."""
        while page := self.store.write(_events, self._position):
            self._position = page[-1].position
            yield from page

    def audit(self) -> AuditReport:
        return self.store.write(audit)


class Torn(Exception):
    """A transaction that failed behind everything that it had done."""


def _accounts(tx: Transaction) -> list[AccountRow]:
    return list(tx.each("audit.accounts", AccountRow, after=""))


def _current(tx: Transaction) -> list[Account]:
    return tx.rows("ledger.current_accounts", Account, now=0)


def _events(tx: Transaction, position: int) -> list[EventRow]:
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
