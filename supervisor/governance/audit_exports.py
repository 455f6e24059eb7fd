"""Auditing what stays of pruned events: it is what the last export has sealed."""

from __future__ import annotations

from typing import ClassVar

from supervisor.events.kinds import Event
from supervisor.events.log import EventRow
from supervisor.events.upkeep_kinds import WindowsRetired
from supervisor.governance.audit_findings import Findings
from supervisor.governance.sums import Sums


class ExportAudit:
    """Compares the sums that the audit begins with, their row, and the event that sealed them."""

    #: The kinds of events that it is to be told of.
    FOLLOWS: ClassVar[tuple[type[Event], ...]] = (WindowsRetired,)

    def __init__(self, findings: Findings, sums: Sums) -> None:
        self._findings = findings
        self._sums = sums
        self._last: WindowsRetired | None = None

    def add(self, row: EventRow, event: Event) -> None:
        """Note an export; the last one is that of the sums."""
        del row
        if isinstance(event, WindowsRetired):
            self._last = event

    def finish(self) -> None:
        """Compare the sums with their seal, in the row and in the event."""
        export, event = self._sums.export, self._last
        if export is None:
            if event is not None:
                self._findings.add(f"export {event.number}", "has an event but no row")
            sums = self._sums
            if sums.accounts or sums.workers or sums.states or sums.days:
                self._findings.add("sums", "are there, and no export that has left them")
            return
        subject = f"export {export.number}"
        if self._sums.sha256 != export.sums_sha256:
            self._findings.add(subject, "what it has left is not as it was sealed")
        if event is None:
            self._findings.add(subject, "has a row, but no event tells of it")
        elif (event.number, event.sha256, event.sums_sha256) != (
            export.number,
            export.sha256,
            export.sums_sha256,
        ):
            what = f"its row is not what the event of export {event.number} says"
            self._findings.add(subject, what)
