"""Auditing holds: their events, replayed, against their rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import ClassVar

import msgspec

from supervisor.events import kinds, model_kinds
from supervisor.events.kinds import Event
from supervisor.events.log import EventRow
from supervisor.governance.audit_accounts import AccountAudit
from supervisor.governance.audit_findings import Findings
from supervisor.governance.sound_rows import damage_text
from supervisor.ledger.accounts import Amounts, Unit
from supervisor.ledger.holds import HoldStatus, id_list, with_id
from supervisor.storage.database import Transaction

_ENDS = (kinds.HoldSettled, kinds.HoldForfeited, kinds.HoldReleased, kinds.HoldReconciled)
_UNITS = frozenset(unit.value for unit in Unit)


class _Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What of a hold both its events and its row tell."""

    session_id: str
    model: str
    account_ids: str
    cost_held: int
    tokens_held: int
    actions_held: int
    status: HoldStatus = HoldStatus.OPEN
    cost_settled: int = 0
    tokens_settled: int = 0
    actions_settled: int = 0
    org: str = ""
    team: str = ""
    user_id: str = ""
    conversation: str = ""

    @property
    def accounts(self) -> tuple[tuple[str, Unit], ...]:
        return _accounts(self.account_ids)

    @property
    def held(self) -> Amounts:
        return Amounts(cost=self.cost_held, tokens=self.tokens_held, actions=self.actions_held)


class _StoredHold(_Hold, frozen=True, kw_only=True):
    worker: str
    tick: int


class _NamedHold(_StoredHold, frozen=True, kw_only=True):
    id: str


class _StoredTick(msgspec.Struct, frozen=True):
    outcome: str | None


class _Number(msgspec.Struct, frozen=True):
    number: int


class _HoldName(msgspec.Struct, frozen=True):
    id: str
    session_id: str


class _Payload(msgspec.Struct, frozen=True):
    payload: str


# A session's calls fall under the same accounts, one after the other.
@lru_cache(maxsize=256)
def _accounts(account_ids: str) -> tuple[tuple[str, Unit], ...]:
    # A name without a unit is no account: its event was edited, which the chain shows.
    named = [(name, name.rpartition("/")[2]) for name in account_ids.split("\n")]
    return tuple((name, Unit(unit)) for name, unit in named if unit in _UNITS)


class HoldAudit:
    """Replays every hold in the order of commits, and moves its money on `accounts`.

    In memory are the holds that are open, and those that were forfeited and changed later: put
    right, or joined to an account.
    """

    #: The kinds of events that it is to be told of.
    FOLLOWS: ClassVar[tuple[type[Event], ...]] = (
        kinds.HoldPlaced,
        model_kinds.HoldJoined,
        kinds.HoldSettled,
        kinds.HoldForfeited,
        kinds.HoldReleased,
        kinds.HoldReconciled,
    )

    def __init__(self, tx: Transaction, findings: Findings, accounts: AccountAudit) -> None:
        self._tx = tx
        self._findings = findings
        self._accounts = accounts
        self._open: dict[str, _Hold] = {}
        self._forfeited: dict[str, _Hold] = {}
        self._ahead: dict[str, _NamedHold] = {}
        self.holds = 0

    def read_ahead(self, events: Sequence[Event]) -> None:
        """Read the rows of the holds that end in these events, all in one statement."""
        ids = [event.hold for event in events if isinstance(event, _ENDS)]
        self._ahead = {}
        if not ids:
            return
        with suppress(msgspec.MsgspecError):
            # A damaged row spoils the page; looked up alone, it is the only one that is named.
            rows = self._tx.rows("audit_pages.holds", _NamedHold, ids=id_list(ids))
            self._ahead = {row.id: row for row in rows}

    def add(self, row: EventRow, event: Event) -> None:
        """Replay one event of a hold."""
        match event:
            case kinds.HoldPlaced():
                self._place(row, event)
            case model_kinds.HoldJoined():
                self._join(row, event)
            case kinds.HoldSettled():
                self._end(row, event.hold, HoldStatus.SETTLED, _amounts(event))
            case kinds.HoldForfeited():
                self._end(row, event.hold, HoldStatus.FORFEITED, _amounts(event))
            case kinds.HoldReleased():
                self._end(row, event.hold, HoldStatus.RELEASED, Amounts())
            case kinds.HoldReconciled():
                self._reconcile(row, event)
            case _:
                return

    def _place(self, row: EventRow, event: kinds.HoldPlaced) -> None:
        if event.hold in self._open:
            self._findings.add(f"hold {event.hold}", "is placed a second time", row)
            return
        self.holds += 1
        hold = self._open[event.hold] = _Hold(
            session_id=row.session_id,
            model=event.model,
            account_ids="\n".join(event.accounts),
            cost_held=event.cost,
            tokens_held=event.tokens,
            actions_held=event.actions,
            org=event.org,
            team=event.team,
            user_id=event.user,
            conversation=event.conversation,
        )
        for account_id, unit in hold.accounts:
            self._accounts.move(row, account_id, held=hold.held.of(unit), settled=0)

    def _join(self, row: EventRow, event: model_kinds.HoldJoined) -> None:
        """Put a hold on one more account; a forfeited one is in what that was opened with."""
        for holds in (self._open, self._forfeited):
            hold = holds.get(event.hold)
            if hold is None:
                continue
            account_ids = with_id(hold.account_ids, event.account)
            holds[event.hold] = msgspec.structs.replace(hold, account_ids=account_ids)
            for account_id, unit in _accounts(event.account) if holds is self._open else ():
                self._accounts.move(row, account_id, held=hold.held.of(unit), settled=0)
            return
        what = f"joins account {event.account} and can change no more"
        self._findings.add(f"hold {event.hold}", what, row)

    def _end(self, row: EventRow, hold_id: str, status: HoldStatus, actual: Amounts) -> None:
        hold = self._open.pop(hold_id, None)
        if hold is None:
            self._findings.add(f"hold {hold_id}", f"is {status} without being open", row)
            return
        for account_id, unit in hold.accounts:
            held, settled = hold.held.of(unit), actual.of(unit)
            self._accounts.move(row, account_id, held=-held, settled=settled)
        ended = msgspec.structs.replace(
            hold,
            status=status,
            cost_settled=actual.cost,
            tokens_settled=actual.tokens,
            actions_settled=actual.actions,
        )
        stored = self._stored(hold_id, row)
        if stored is None:
            return
        has_changed = (stored.status, stored.account_ids) != (status, ended.account_ids)
        if status is HoldStatus.FORFEITED and has_changed:
            # Put right or joined to an account since: its row is compared at the last such event.
            self._forfeited[hold_id] = ended
        else:
            self._compare(hold_id, ended, stored, row)

    def _reconcile(self, row: EventRow, event: kinds.HoldReconciled) -> None:
        hold = self._forfeited.pop(event.hold, None)
        if hold is None or hold.cost_settled != event.cost_before:
            what = f"is reconciled without being forfeited at {event.cost_before} micro-USD"
            self._findings.add(f"hold {event.hold}", what, row)
            return
        for account_id, unit in hold.accounts:
            if unit is Unit.MICRO_USD:
                difference = event.cost - event.cost_before
                self._accounts.move(row, account_id, held=0, settled=difference)
        now = msgspec.structs.replace(hold, status=HoldStatus.SETTLED, cost_settled=event.cost)
        stored = self._stored(event.hold, row)
        if stored is not None:
            self._compare(event.hold, now, stored, row)

    def _compare(
        self, hold_id: str, by_events: _Hold, stored: _StoredHold, row: EventRow | None
    ) -> None:
        for field in _Hold.__struct_fields__:
            says, should = getattr(stored, field), getattr(by_events, field)
            if says != should:
                what = f"its row says {field} {says!s}, its events {should!s}"
                self._findings.add(f"hold {hold_id}", what, row)
                return

    def _stored(self, hold_id: str, row: EventRow | None) -> _StoredHold | None:
        ahead = self._ahead.get(hold_id)
        if ahead is not None:
            return ahead
        try:
            stored = self._tx.row("audit.hold", _StoredHold, id=hold_id)
        except Exception as error:  # noqa: BLE001 - a damaged row: its text goes on record
            self._findings.add(f"hold {hold_id}", f"its row {damage_text(error)}", row)
            return None
        if stored is None:
            self._findings.add(f"hold {hold_id}", "has an event but no row", row)
        return stored

    def finish(self) -> None:
        """Check the holds that are still open, and that no row lacks its event."""
        for hold_id, hold in self._open.items():
            stored = self._stored(hold_id, None)
            if stored is not None:
                self._compare(hold_id, hold, stored, None)
                self._check_in_flight(hold_id, stored)
        for hold_id, hold in self._forfeited.items():
            stored = self._stored(hold_id, None)
            if stored is not None:
                self._compare(hold_id, hold, stored, None)
        counted = self._tx.row("audit.count_holds", _Number)
        if counted is not None and counted.number > self.holds:
            self._find_strays()

    def _check_in_flight(self, hold_id: str, hold: _StoredHold) -> None:
        # Requirement L1a: what is held is in flight, or of unknown outcome and about to end.
        tick = self._tx.row("audit.tick", _StoredTick, worker=hold.worker, number=hold.tick)
        if tick is not None and tick.outcome is not None:
            what = f"is open, but tick {hold.tick} of {hold.worker} has ended"
            self._findings.add(f"hold {hold_id}", what)

    def _find_strays(self) -> None:
        names = self._tx.each("audit.holds_by_session", _HoldName)
        for session_id, group in itertools.groupby(names, key=lambda name: name.session_id):
            placed = self._placed_in(session_id)
            for name in group:
                if name.id not in placed:
                    self._findings.add(f"hold {name.id}", "has a row, but no event has placed it")

    def _placed_in(self, session_id: str) -> set[str]:
        kind = kinds.HoldPlaced.kind
        placed: set[str] = set()
        for row in self._tx.each(
            "audit.payloads_of_session", _Payload, session_id=session_id, kind=kind
        ):
            try:
                placed.add(msgspec.json.decode(row.payload, type=kinds.HoldPlaced).hold)
            except msgspec.DecodeError:
                continue  # found already, when the event was read
        return placed


def _amounts(event: kinds.HoldSettled | kinds.HoldForfeited) -> Amounts:
    return Amounts(cost=event.cost, tokens=event.tokens, actions=event.actions)
