"""Putting a forfeited hold at what its call really cost, in a person's name."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from supervisor.errors import CommandConflict, NotFound
from supervisor.events.log import Origin
from supervisor.governance.commands import once
from supervisor.governance.rotation import system_journal
from supervisor.ledger import ledger
from supervisor.ledger.holds import Hold, HoldStatus, find_hold
from supervisor.money import usd_text
from supervisor.storage.database import Transaction

_LISTED = "`supervisor events --kind hold_forfeited` lists those that can be reconciled"


class ReconcileCommand(msgspec.Struct, frozen=True, kw_only=True):
    """What a forfeited hold's call really cost, in micro-USD."""

    hold_id: str
    cost: int


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """What was done; costs in micro-USD."""

    hold_id: str
    cost_before: int
    cost: int


def reconcile_hold(
    tx: Transaction, command: ReconcileCommand, origin: Origin, timezone: ZoneInfo
) -> Reconciled:
    """Correct a forfeited hold; the event stands in the system's session, as its own may be over.

    Raises:
        NotFound: there is no such hold.
        CommandConflict: it is not forfeited, was put at another cost, or the id was used before.
    """

    def perform() -> Reconciled:
        hold = find_hold(tx, command.hold_id)
        if hold is None:
            subject = f"hold {command.hold_id}"
            raise NotFound(subject=subject, what="does not exist", fix=_LISTED)
        _check(hold, command.cost)
        with system_journal(tx, timezone, origin) as journal:
            ledger.reconcile(tx, journal, hold, command.cost)
        return Reconciled(hold_id=hold.id, cost_before=hold.cost_settled, cost=command.cost)

    return once(tx, "reconcile", command, origin, result=Reconciled, perform=perform)


def _check(hold: Hold, cost: int) -> None:
    is_done = hold.status is HoldStatus.SETTLED and hold.cost_settled == cost
    if hold.status is HoldStatus.FORFEITED or is_done:
        return
    is_settled = hold.status is HoldStatus.SETTLED
    at = f" at {usd_text(hold.cost_settled)}" if is_settled else ""
    raise CommandConflict(
        subject=f"hold {hold.id}",
        what=f"is {hold.status}{at}; only a forfeited hold can be reconciled",
        fix=_LISTED,
    )
