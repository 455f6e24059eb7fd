"""Auditing outside effects: the keys that their events have taken, against their rows."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from supervisor.events import effect_kinds as kinds
from supervisor.events.kinds import Event
from supervisor.events.log import EventRow
from supervisor.governance.audit_findings import Findings
from supervisor.governance.sums import Sums
from supervisor.storage.database import Transaction


class _Row(msgspec.Struct, frozen=True):
    scope: str
    effect_key: str
    state: str


class _Count(msgspec.Struct, frozen=True):
    effects: int


class EffectAudit:
    """Follows each key until its effect was done; in memory are those that were not.

    Where windows were pruned, what was taken before is passed over, and so is an export: a key's
    later events may stand in windows that are not there.
    """

    #: The kinds of events that it is to be told of.
    FOLLOWS: ClassVar[tuple[type[Event], ...]] = (
        kinds.EffectTaken,
        kinds.EffectDone,
        kinds.EffectReleased,
        kinds.EffectUnknown,
    )

    def __init__(self, tx: Transaction, findings: Findings, sums: Sums, *, is_export: bool) -> None:
        self._tx = tx
        self._findings = findings
        self._is_export = is_export
        self._is_whole = not is_export and sums.export is None
        self._sums = sums
        self._open: dict[tuple[str, str], str] = {}
        self._done = 0

    def add(self, row: EventRow, event: Event) -> None:
        """Replay an event of an effect; others are none of its."""
        if self._is_export or self._sums.covers(row.position, row.at):
            return
        match event:
            case kinds.EffectTaken():
                if (event.scope, event.key) in self._open:
                    name = f"{event.scope}/{event.key}"
                    self._findings.add(f"effect {name}", "is taken a second time", row)
                self._open[event.scope, event.key] = "taken"
            case kinds.EffectUnknown():
                self._open[event.scope, event.key] = "unknown"
            case kinds.EffectDone() | kinds.EffectReleased():
                before = self._open.pop((event.scope, event.key), None)
                if before is None and self._is_whole:
                    name = f"{event.scope}/{event.key}"
                    self._findings.add(f"effect {name}", "ends without being taken", row)
                self._done += isinstance(event, kinds.EffectDone)
            case _:
                return

    def finish(self) -> None:
        """Compare the rows with what the events have left."""
        if not self._is_whole:
            return
        for stored in self._tx.rows("audit_jobs.open_effects", _Row):
            should = self._open.pop((stored.scope, stored.effect_key), "nothing")
            if stored.state != should:
                what = f"its row says {stored.state}, its events {should}"
                self._findings.add(f"effect {stored.scope}/{stored.effect_key}", what)
        for scope, key in self._open:
            self._findings.add(f"effect {scope}/{key}", "has events but no row")
        done = self._tx.row("audit_jobs.done_effects", _Count)
        if done is not None and done.effects != self._done:
            what = f"{done.effects} rows are done, their events say {self._done}"
            self._findings.add("effects", what)
