"""Somebody knows of an alert: no more reminders of it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from supervisor.alerts.record import find_alert
from supervisor.clock import to_us
from supervisor.errors import IllegalMove, UsageError
from supervisor.events import alert_kinds
from supervisor.events.log import Origin
from supervisor.governance.commands import once
from supervisor.governance.rotation import system_journal
from supervisor.storage.database import Transaction

_WHY_MAX = 500


class AcknowledgeCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A person knows of an alert."""

    alert: str
    why: str


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """The alert that somebody knows of by now."""

    alert: str
    title: str
    by: str


def acknowledge(
    tx: Transaction, command: AcknowledgeCommand, origin: Origin, timezone: ZoneInfo
) -> Acknowledged:
    """Record that a named actor knows of an alert, which ends its reminders.

    Raises:
        NotFound: there is no such alert.
        IllegalMove: it is over, or somebody knows of it already.
        UsageError: the reason is too long.
        CommandConflict: the command id was used for something else.
    """
    if len(command.why) > _WHY_MAX:
        what = f"the reason has more than {_WHY_MAX} characters"
        raise UsageError(subject=f"alert {command.alert}", what=what, fix="say it in a sentence")
    return once(
        tx,
        "acknowledge_alert",
        command,
        origin,
        result=Acknowledged,
        perform=lambda: _acknowledge(tx, command, origin, timezone),
    )


def _acknowledge(
    tx: Transaction, command: AcknowledgeCommand, origin: Origin, timezone: ZoneInfo
) -> Acknowledged:
    alert = find_alert(tx, command.alert)
    if alert.resolved_at is not None or alert.acknowledged_at is not None:
        what = (
            f"is over: {alert.resolved_why}"
            if alert.resolved_at is not None
            else f"was acknowledged by {alert.acknowledged_by}"
        )
        fix = "nothing is to be done"
        raise IllegalMove(subject=f"alert {alert.id}", what=what, fix=fix)
    tx.run("alerts.acknowledge", id=alert.id, by=origin.actor, now=to_us(origin.at))
    with system_journal(tx, timezone, origin) as journal:
        journal.add(alert_kinds.AlertAcknowledged(alert=alert.id, key=alert.key, why=command.why))
    return Acknowledged(alert=alert.id, title=alert.title, by=origin.actor)
