"""Auditing accounts: their events, replayed, against their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from supervisor.events import kinds, upkeep_kinds
from supervisor.events.kinds import Event
from supervisor.events.log import EventRow
from supervisor.governance.audit_findings import Findings
from supervisor.governance.sound_rows import TextKey, damage_text, sound_rows
from supervisor.governance.sums import AccountSum, Sums
from supervisor.storage.database import Transaction


@dataclass(slots=True)
class _Balance:
    """An account as its events tell it, in its unit."""

    limit_amount: int = 0
    settled: int = 0
    held: int = 0
    overrun: int = 0
    limit_at: int = 0


class _StoredAccount(msgspec.Struct, frozen=True):
    id: str
    limit_amount: int
    settled: int
    held: int
    overrun: int


class AccountAudit:
    """Every account's balance by its events, in the order of commits; all stay in memory."""

    #: The kinds of events that it is to be told of.
    FOLLOWS: ClassVar[tuple[type[Event], ...]] = (
        kinds.AccountOpened,
        kinds.AccountLimitChanged,
        kinds.AccountRecounted,
        upkeep_kinds.AccountCarried,
        kinds.AccountOverrun,
    )

    def __init__(self, tx: Transaction, findings: Findings, sums: Sums) -> None:
        self._tx = tx
        self._findings = findings
        self._until = sums.until
        self._balances = {
            total.id: _Balance(
                limit_amount=total.limit_amount,
                settled=total.settled,
                held=total.held,
                overrun=total.overrun,
                limit_at=total.limit_at,
            )
            for total in sums.accounts.values()
        }
        self.accounts = 0

    def carried(self) -> dict[str, AccountSum]:
        """Return what the events read so far add up to, with what was there before them."""
        return {
            name: AccountSum(
                id=name,
                limit_amount=balance.limit_amount,
                limit_at=balance.limit_at,
                settled=balance.settled,
                held=balance.held,
                overrun=balance.overrun,
            )
            for name, balance in self._balances.items()
        }

    def add(self, row: EventRow, event: Event) -> None:
        """Replay an account's own events."""
        match event:
            case kinds.AccountOpened():
                self._open(row, event)
            case kinds.AccountLimitChanged():
                self._limit(row, self._balance(row, event.account), event.limit_amount)
            case kinds.AccountRecounted():
                self._recount(row, event)
            case upkeep_kinds.AccountCarried():
                self._carry(row, event)
            case kinds.AccountOverrun():
                balance = self._balance(row, event.account)
                balance.overrun = max(balance.overrun, event.overrun)
            case _:
                return

    def move(self, row: EventRow, account_id: str, *, held: int, settled: int) -> None:
        """Replay what a hold's event does to one of its accounts, in the account's unit."""
        balance = self._balance(row, account_id)
        balance.held += held
        balance.settled += settled

    def _limit(self, row: EventRow, balance: _Balance, limit_amount: int) -> None:
        if row.position > balance.limit_at:
            balance.limit_amount, balance.overrun = limit_amount, 0
            balance.limit_at = row.position

    def _open(self, row: EventRow, event: kinds.AccountOpened) -> None:
        before = self._balances.get(event.account)
        if before is not None and self._is_summed(row):
            before.settled += event.settled
            self._limit(row, before, event.limit_amount)
            return
        if before is not None:
            self._findings.add(f"account {event.account}", "is opened a second time", row)
        self._balances[event.account] = _Balance(
            limit_amount=event.limit_amount, settled=event.settled, limit_at=row.position
        )

    def _is_summed(self, row: EventRow) -> bool:
        """Return whether later events may be in the sums already, and earlier ones still missing.

        Below the last export's end only the sum is proved, not each step to it.
        """
        return row.position < self._until

    def _recount(self, row: EventRow, event: kinds.AccountRecounted) -> None:
        balance = self._balance(row, event.account)
        if self._is_summed(row):
            balance.settled += event.settled - event.before
            return
        if balance.settled != event.before:
            what = f"is recounted from {event.before}, its events before say {balance.settled}"
            self._findings.add(f"account {event.account}", what, row)
        balance.settled = event.settled

    def _carry(self, row: EventRow, event: upkeep_kinds.AccountCarried) -> None:
        balance = self._balance(row, event.account)
        if self._is_summed(row):
            balance.settled += event.settled - event.before
            return
        if event.before != balance.settled or event.settled < event.before:
            what = f"is carried from {event.before} to {event.settled}, it had {balance.settled}"
            self._findings.add(f"account {event.account}", what, row)
        balance.settled = event.settled

    def _balance(self, row: EventRow, account_id: str) -> _Balance:
        balance = self._balances.get(account_id)
        if balance is None:
            self._findings.add(f"account {account_id}", "is used before it is opened", row)
            balance = self._balances[account_id] = _Balance()
        return balance

    def finish(self) -> None:
        """Compare every balance with its row."""

        def read(after: str) -> Iterator[_StoredAccount]:
            return self._tx.each("audit.accounts", _StoredAccount, after=after)

        for stored in sound_rows(read, after="", key=lambda row: row.id, pass_over=self._pass_over):
            self.accounts += 1
            what = _difference(stored, self._balances.pop(stored.id, None))
            if what:
                self._findings.add(f"account {stored.id}", what)
        for account_id in self._balances:
            self._findings.add(f"account {account_id}", "has an event but no row")

    def _pass_over(self, after: str, error: Exception) -> str:
        broken = self._tx.row("audit.next_account", TextKey, after=after)
        if broken is None:
            raise error
        self._findings.add(f"account {broken.key}", f"its row {damage_text(error)}")
        self._balances.pop(broken.key, None)
        return broken.key


def _difference(stored: _StoredAccount, balance: _Balance | None) -> str:
    if balance is None:
        return "has a row, but no event has opened it"
    for field in ("settled", "held", "limit_amount", "overrun"):
        says, should = getattr(stored, field), getattr(balance, field)
        if says != should:
            return f"its row says {field} {says}, its events {should}"
    used, allowed = stored.settled + stored.held, stored.limit_amount + stored.overrun
    if used > allowed or stored.held < 0:
        return f"has {used} settled and held, its limit and overrun allow {allowed}"
    return ""
