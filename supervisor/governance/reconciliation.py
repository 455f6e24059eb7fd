"""Putting a forfeited hold at what its call really cost, in a person's name."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from supervisor.errors import NotFound
from supervisor.events.log import Origin
from supervisor.governance.commands import once
from supervisor.governance.rotation import system_journal
from supervisor.ledger import ledger
from supervisor.ledger.holds import find_hold
from supervisor.storage.database import Transaction


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
    hold = find_hold(tx, command.hold_id)
    if hold is None:
        raise NotFound(
            subject=f"hold {command.hold_id}",
            what="does not exist",
            fix="`supervisor events --kind hold_forfeited` lists those that can be reconciled",
        )

    def perform() -> Reconciled:
        with system_journal(tx, timezone, origin) as journal:
            ledger.reconcile(tx, journal, hold, command.cost)
        return Reconciled(hold_id=hold.id, cost_before=hold.cost_settled, cost=command.cost)

    return once(tx, "reconcile", command, origin, result=Reconciled, perform=perform)
