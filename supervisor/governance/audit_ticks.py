"""Auditing ticks: every one is there, and each ended once, in the session where it began."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import ClassVar

import msgspec

from supervisor.events import kinds
from supervisor.events.kinds import Event
from supervisor.events.log import EventRow
from supervisor.governance.audit_findings import Findings
from supervisor.governance.rotation import SYSTEM
from supervisor.governance.sound_rows import NumberKey, TextKey, damage_text, sound_rows
from supervisor.governance.sums import Sums
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction

_ENDS = (kinds.CycleCompleted, kinds.CycleSkipped, kinds.CycleRecovered)
#: Ticks that end close together are numbered close together; what is further apart is looked up.
_SPREAD_MAX = 2_000


class NumberRuns:
    """A set of numbers kept as runs without a gap: small where few numbers are missing."""

    def __init__(self, last: int = 0) -> None:
        """Begin with the numbers from 1 to `last`, or with none."""
        self._firsts = [1] if last else []
        self._lasts = [last] if last else []

    def add(self, number: int) -> bool:
        """Add a number and return True, or return False if it is there already."""
        place = bisect.bisect_right(self._firsts, number)
        if place and number <= self._lasts[place - 1]:
            return False
        touches_before = place > 0 and self._lasts[place - 1] == number - 1
        touches_after = place < len(self._firsts) and self._firsts[place] == number + 1
        if touches_before and touches_after:
            self._lasts[place - 1] = self._lasts.pop(place)
            del self._firsts[place]
        elif touches_before:
            self._lasts[place - 1] = number
        elif touches_after:
            self._firsts[place] = number
        else:
            self._firsts.insert(place, number)
            self._lasts.insert(place, number)
        return True

    def __contains__(self, number: int) -> bool:
        place = bisect.bisect_right(self._firsts, number)
        return place > 0 and number <= self._lasts[place - 1]

    @property
    def last(self) -> int:
        """The highest number, 0 where there is none."""
        return self._lasts[-1] if self._lasts else 0


class _StoredTick(msgspec.Struct, frozen=True):
    number: int
    session_id: str | None
    outcome: str | None


class _Worker(msgspec.Struct, frozen=True):
    name: str
    last_tick: int


class TickAudit:
    """Follows each tick from its start to its end. In memory are the ticks that are running."""

    #: The kinds of events that it is to be told of.
    FOLLOWS: ClassVar[tuple[type[Event], ...]] = (
        kinds.CycleStarted,
        kinds.CycleCompleted,
        kinds.CycleSkipped,
        kinds.CycleRecovered,
    )

    def __init__(self, tx: Transaction, findings: Findings, sums: Sums) -> None:
        self._tx = tx
        self._findings = findings
        self._running: dict[tuple[str, int], str] = {}
        self._retired = {
            total.worker: total.last_tick for total in sums.workers.values() if total.last_tick
        }
        self._ended = {worker: NumberRuns(last) for worker, last in self._retired.items()}
        self._ahead: dict[tuple[str, int], _StoredTick] = {}
        self.ticks = 0

    def carried(self) -> dict[str, int]:
        """Return the number of each worker's last tick that has ended, by the events so far."""
        return {worker: ended.last for worker, ended in self._ended.items()}

    def read_ahead(self, events: Sequence[Event]) -> None:
        """Read the rows of the ticks that end in these events, a statement for each worker."""
        numbers: dict[str, list[int]] = {}
        for event in events:
            if isinstance(event, _ENDS):
                numbers.setdefault(event.worker, []).append(event.tick)
        self._ahead = {}
        for worker, due in numbers.items():
            first, last = min(due), max(due)
            if last - first < _SPREAD_MAX:
                self._read_ahead_of(worker, first, last)

    def _read_ahead_of(self, worker: str, first: int, last: int) -> None:
        with suppress(msgspec.MsgspecError):
            # A damaged row spoils the page; looked up alone, it is the only one that is named.
            for tick in self._tx.rows(
                "audit_pages.ticks", _StoredTick, worker=worker, first=first, last=last
            ):
                self._ahead[worker, tick.number] = tick

    def add(self, row: EventRow, event: Event) -> None:
        """Note a tick's start or end."""
        match event:
            case kinds.CycleStarted():
                self._start(row, event)
            case kinds.CycleCompleted():
                self._end(row, event, event.outcome)
            case kinds.CycleSkipped():
                self._end(row, event, Outcome.SKIPPED)
            case kinds.CycleRecovered():
                self._end(row, event, Outcome.RECOVERED)
            case _:
                return

    def _start(self, row: EventRow, event: kinds.CycleStarted) -> None:
        key = (event.worker, event.tick)
        if key in self._running or event.tick in self._ended.get(event.worker, ()):
            self._findings.add(_name(*key), "is started a second time", row)
        self._running[key] = row.session_id

    def _end(
        self,
        row: EventRow,
        event: kinds.CycleCompleted | kinds.CycleSkipped | kinds.CycleRecovered,
        outcome: str,
    ) -> None:
        subject = _name(event.worker, event.tick)
        started_in = self._running.pop((event.worker, event.tick), None)
        if not self._ended.setdefault(event.worker, NumberRuns()).add(event.tick):
            self._findings.add(subject, "is ended a second time", row)
            return
        if outcome != Outcome.SKIPPED and started_in is None:
            self._findings.add(subject, "is ended without being started", row)
        stored = self._stored(subject, event.worker, event.tick, row)
        if stored is None:
            return
        if stored.outcome != outcome:
            what = f"its row says {stored.outcome or 'running'}, its event {outcome}"
            self._findings.add(subject, what, row)
        home = started_in or stored.session_id
        is_home = stored.session_id == home and row.session_id == home
        if not is_home and not _may_stand_elsewhere(row, stored, outcome):
            what = f"is ended in session {row.session_id}, it belongs to {home or 'none'}"
            self._findings.add(subject, what, row)

    def _stored(self, subject: str, worker: str, number: int, row: EventRow) -> _StoredTick | None:
        # One without a row is found by `finish`, as a gap in the worker's numbers.
        ahead = self._ahead.get((worker, number))
        if ahead is not None:
            return ahead
        try:
            return self._tx.row("audit.tick", _StoredTick, worker=worker, number=number)
        except Exception as error:  # noqa: BLE001 - a damaged row: its text goes on record
            self._findings.add(subject, f"its row {damage_text(error)}", row)
            return None

    def finish(self) -> None:
        """Check every worker's rows."""
        known: set[str] = set()
        for worker in self._tx.each("audit.workers", _Worker):
            known.add(worker.name)
            self._check_worker(worker)
        for name in self._tx.rows("audit.workers_of_ticks", TextKey):
            known.add(name.key)
            self._findings.add(f"worker {name.key}", "has ticks but no row")
        for unknown in sorted(self._ended.keys() - known):
            self._findings.add(f"worker {unknown}", "has events of ticks but no row")

    def _check_worker(self, worker: _Worker) -> None:
        ended = self._ended.get(worker.name, NumberRuns())
        due = self._retired.get(worker.name, 0) + 1
        for tick in self._rows(worker.name):
            self.ticks += 1
            if tick.number > due:
                self._find_gap(worker.name, due, tick.number - 1)
            if tick.outcome is not None and tick.number not in ended:
                what = f"its row says {tick.outcome}, no event says that it ended"
                self._findings.add(_name(worker.name, tick.number), what)
            due = tick.number + 1
        last = max(worker.last_tick, ended.last)
        if due <= last:
            self._find_gap(worker.name, due, last)
        if due - 1 > worker.last_tick:
            what = f"its row says that tick {worker.last_tick} is its last, there is {due - 1}"
            self._findings.add(f"worker {worker.name}", what)

    def _find_gap(self, worker: str, first: int, last: int) -> None:
        self._findings.add(
            _name(worker, first),
            "has no row" if first == last else f"has no row, nor has any up to {last}",
        )

    def _rows(self, worker: str) -> Iterator[_StoredTick]:
        def read(after: int) -> Iterator[_StoredTick]:
            return self._tx.each("audit.ticks", _StoredTick, worker=worker, after=after)

        def pass_over(after: int, error: Exception) -> int:
            broken = self._tx.row("audit.next_tick", NumberKey, worker=worker, after=after)
            if broken is None:
                raise error
            self._findings.add(_name(worker, broken.key), f"its row {damage_text(error)}")
            return broken.key

        # Those that are retired and not all gone yet are passed over.
        after = self._retired.get(worker, 0)
        return sound_rows(read, after=after, key=lambda row: row.number, pass_over=pass_over)


def _name(worker: str, tick: int) -> str:
    return f"tick {tick} of {worker}"


def _may_stand_elsewhere(row: EventRow, stored: _StoredTick, outcome: str) -> bool:
    """Return whether a tick may have ended in the system's session.

    A tick that was skipped before its worker had a session has none; recovery closes a tick
    there whose own session is over (maintenance/recovery.py).
    """
    is_system = row.session_id.partition("@")[0] == SYSTEM
    if outcome == Outcome.SKIPPED:
        return is_system and stored.session_id is None
    return is_system and outcome == Outcome.RECOVERED
