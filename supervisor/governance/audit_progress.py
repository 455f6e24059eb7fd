"""Auditing progress: the items that their events have committed, against the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec

from supervisor.events import job_kinds as kinds
from supervisor.events.kinds import CycleCompleted, Event
from supervisor.events.log import EventRow
from supervisor.governance.audit_findings import Findings
from supervisor.governance.sound_rows import TextKey, damage_text, sound_rows
from supervisor.governance.sums import Sums
from supervisor.outcome import KEEPING_OUTCOMES
from supervisor.storage.database import Transaction


class _Row(msgspec.Struct, frozen=True):
    owner: str
    name: str
    done: int
    last_item: str
    kept: str


class ProgressAudit:
    """Follows how many items of each loop are done; in memory is one number and label for each.

    A job's are forgotten when it is done, a worker's when its tick has ended well. Where windows
    were pruned, what was before the cut is passed over.
    """

    #: The kinds of events that it is to be told of.
    FOLLOWS: ClassVar[tuple[type[Event], ...]] = (
        kinds.ItemsBegun,
        kinds.ItemDone,
        kinds.JobCompleted,
        CycleCompleted,
    )

    def __init__(self, tx: Transaction, findings: Findings, sums: Sums, *, is_export: bool) -> None:
        self._tx = tx
        self._findings = findings
        self._is_export = is_export
        self._is_whole = not is_export and sums.export is None
        self._sums = sums
        self._loops: dict[str, dict[str, tuple[int, str]]] = {}

    def add(self, row: EventRow, event: Event) -> None:
        """Replay an event of a loop; others are none of its."""
        if self._is_export or self._sums.covers(row.position, row.at):
            # Of a job, or of a worker's ticks, others may stand in windows that are not there.
            return
        match event:
            case kinds.ItemsBegun():
                self._begin(row, event)
            case kinds.ItemDone():
                self._advance(row, event)
            case kinds.JobCompleted(jobs=jobs):
                for job in jobs:
                    self._end(f"job:{job}")
            case CycleCompleted(outcome=outcome) if outcome in KEEPING_OUTCOMES:
                # What comes next begins anew, and forgets the rows.
                self._loops.pop(f"worker:{event.worker}", None)
            case _:
                return

    def _begin(self, row: EventRow, event: kinds.ItemsBegun) -> None:
        loops = self._loops.setdefault(_owner(event), {})
        before = loops.get(event.name)
        if event.done and before is None and self._is_whole:
            what = f"goes on behind item {event.done}, and no event has done one"
            self._findings.add(_subject(event), what, row)
        if event.done and before is not None and before[0] != event.done:
            what = f"goes on behind item {event.done}, its events have done {before[0]}"
            self._findings.add(_subject(event), what, row)
        label = before[1] if before and event.done else ""
        loops[event.name] = (event.done, label)

    def _advance(self, row: EventRow, event: kinds.ItemDone) -> None:
        loops = self._loops.setdefault(_owner(event), {})
        before = loops.get(event.name)
        if before is None and self._is_whole:
            self._findings.add(_subject(event), "does an item, and has not begun", row)
        if before is not None and event.done != before[0] + 1:
            what = f"does item {event.done} behind item {before[0]}"
            self._findings.add(_subject(event), what, row)
        loops[event.name] = (event.done, event.item)

    def _end(self, owner: str) -> None:
        """Compare the loops of a job that is done with their rows, and forget them."""
        loops = self._loops.pop(owner, None)
        for name, known in (loops or {}).items():
            try:
                stored = self._tx.row("audit_jobs.progress_of", _Row, owner=owner, name=name)
            except Exception as error:  # noqa: BLE001 - a damaged row: its text goes on record
                self._findings.add(f"progress {owner}/{name}", f"its row {damage_text(error)}")
                continue
            if stored is not None:
                self._compare(stored, known)

    def finish(self) -> None:
        """Compare the rows with what the events have left; a row that is gone begins anew."""
        if self._is_export:
            return
        for stored in self._rows():
            if not _is_object(stored.kept):
                what = "what it has kept can't be read"
                self._findings.add(f"progress {stored.owner}/{stored.name}", what)
            known = self._loops.get(stored.owner, {}).get(stored.name)
            if known is not None:
                self._compare(stored, known)

    def _compare(self, stored: _Row, known: tuple[int, str]) -> None:
        says = (stored.done, stored.last_item)
        if says != known:
            what = f"its row says that {says} is done, its events {known}"
            self._findings.add(f"progress {stored.owner}/{stored.name}", what)

    def _rows(self) -> Iterator[_Row]:
        def read(after: str) -> Iterator[_Row]:
            return self._tx.each("audit_jobs.progress", _Row, after=after)

        def pass_over(after: str, error: Exception) -> str:
            broken = self._tx.row("audit_jobs.next_progress", TextKey, after=after)
            if broken is None:
                raise error
            self._findings.add(f"progress {broken.key}", f"its row {damage_text(error)}")
            return broken.key

        return sound_rows(
            read, after="", key=lambda one: one.owner + "/" + one.name, pass_over=pass_over
        )


def _is_object(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError:
        return False
    return True


def _owner(event: kinds.ItemsBegun | kinds.ItemDone) -> str:
    return f"job:{event.job}" if event.job else f"worker:{event.worker}"


def _subject(event: kinds.ItemsBegun | kinds.ItemDone) -> str:
    return f"progress {_owner(event)}/{event.name}"
