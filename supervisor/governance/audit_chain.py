"""Auditing each session's numbers, hash chain, window, status, counters and seal."""

from __future__ import annotations

import msgspec

from supervisor.events import kinds, upkeep_kinds
from supervisor.events.counters import Counters, Summary
from supervisor.events.kinds import Event
from supervisor.events.log import EventRow, chain_row
from supervisor.governance.audit_findings import Findings
from supervisor.governance.session import SessionStatus
from supervisor.governance.sound_rows import TextKey, damage_text
from supervisor.governance.sums import Sums
from supervisor.storage.database import Transaction


class _Stored(msgspec.Struct, frozen=True):
    """What the session's row says of its events."""

    last_seq: int
    last_hash: bytes
    counters: str
    summary: str | None


class _Story(msgspec.Struct, frozen=True):
    """What the session's row says, and its events too, of what is no number."""

    worker: str
    window_start: int
    window_end: int
    status: str
    received_note: str


class _Chain:
    """A session as far as its events have been read; a hash that is None is not known."""

    __slots__ = ("count", "counters", "digest", "seq", "stored", "story")

    def __init__(self, stored: _Stored | None) -> None:
        self.stored = stored
        self.count = 0
        self.seq = 0
        self.digest: bytes | None = b""
        self.counters = Counters()
        self.story: _Story | None = None

    def tell(self, event: Event) -> None:
        """Follow what an event says of the session itself."""
        match event:
            case kinds.SessionOpened():
                self.story = _Story(
                    worker=event.worker,
                    window_start=event.window_start,
                    window_end=event.window_end,
                    status=SessionStatus.ACTIVE,
                    received_note=event.received_note,
                )
            case kinds.SessionPaused():
                self._turn(SessionStatus.PAUSED)
            case kinds.SessionResumed():
                self._turn(SessionStatus.ACTIVE)
            case kinds.SessionClosed():
                self._turn(SessionStatus.COMPLETED)
            case upkeep_kinds.SessionAborted():
                self._turn(SessionStatus.ABORTED)
            case _:
                return

    def _turn(self, to: SessionStatus) -> None:
        if self.story is not None:
            self.story = msgspec.structs.replace(self.story, status=to)


class ChainAudit:
    """Follows the events of every session in the order of their commits.

    A session is kept in memory until its last event: one for each worker at a time. Of the
    others only the names of each worker's latest two.
    """

    def __init__(self, tx: Transaction, findings: Findings, sums: Sums) -> None:
        self._tx = tx
        self._findings = findings
        self._open: dict[str, _Chain] = {}
        self._latest = {
            total.worker: ("", total.last_session)
            for total in sums.workers.values()
            if total.last_session
        }
        self.sessions = 0

    def add(self, row: EventRow, event: Event | None) -> None:
        """Check an event against its predecessor; `event` is None where it can't be parsed."""
        chain = self._open.get(row.session_id) or self._begin(row)
        self._link(chain, row)
        if event is not None:
            chain.counters.add(event)
            chain.tell(event)
            self._follow(row, event)
        chain.count += 1
        stored = chain.stored
        if stored is not None and stored.summary is not None and chain.count >= stored.last_seq:
            self._end(row.session_id, self._open.pop(row.session_id))

    def carried(self) -> dict[str, str]:
        """Return each worker's latest session, by the events read so far."""
        return {worker: latest for worker, (_, latest) in self._latest.items()}

    def _follow(self, row: EventRow, event: Event) -> None:
        """Check that a worker's sessions follow each other: the one before is there."""
        match event:
            case kinds.SessionOpened():
                _, latest = self._latest.get(event.worker, ("", ""))
                self._latest[event.worker] = (latest, row.session_id)
            case kinds.SessionRotated():
                before, _ = self._latest.get(event.worker, ("", ""))
                if before != event.previous:
                    what = f"follows session {event.previous}, before it is {before or 'none'}"
                    self._findings.add(f"session {row.session_id}", what, row)
            case _:
                return

    def _begin(self, row: EventRow) -> _Chain:
        stored = self._stored(row.session_id)
        if stored is not None and stored.summary is not None and row.seq > stored.last_seq:
            self._findings.add(f"event {row.seq}", "stands behind its session's seal", row)
            chain = _Chain(None)
            chain.seq, chain.digest = row.seq - 1, None
        else:
            self.sessions += 1
            chain = _Chain(stored)
        self._open[row.session_id] = chain
        return chain

    def _stored(self, session_id: str) -> _Stored | None:
        subject = f"session {session_id}"
        try:
            stored = self._tx.row("audit.session", _Stored, id=session_id)
        except Exception as error:  # noqa: BLE001 - a damaged row: its text goes on record
            self._findings.add(subject, damage_text(error), session_id=session_id)
            return None
        if stored is None:
            self._findings.add(subject, "has events but no row", session_id=session_id)
        return stored

    def _link(self, chain: _Chain, row: EventRow) -> None:
        due = chain.seq + 1
        subject = f"event {row.seq}"
        if row.seq < due:
            self._findings.add(subject, f"stands behind number {chain.seq}: out of order", row)
            return
        if row.seq > due:
            missing = f"number {due}" if row.seq == due + 1 else f"numbers {due} to {row.seq - 1}"
            self._findings.add(subject, f"{missing} missing before it", row)
        elif chain.digest is not None and chain_row(chain.digest, row) != row.hash:
            what = "is not as it was written: its hash is not that of it and its predecessor"
            self._findings.add(subject, what, row)
        chain.seq, chain.digest = row.seq, row.hash

    def finish(self) -> None:
        """Check every session that is not over, and those without any event."""
        for session_id, chain in self._open.items():
            self._end(session_id, chain)
        self._open.clear()
        for row in self._tx.each("audit.sessions_without_events", TextKey):
            self.sessions += 1
            self._findings.add(f"session {row.key}", "has no event", session_id=row.key)

    def _end(self, session_id: str, chain: _Chain) -> None:
        stored = chain.stored
        if stored is None:
            return
        whats = [_end_difference(chain, stored), _counter_difference(chain, stored)]
        whats.append(self._story_difference(session_id, chain))
        if stored.summary is not None:
            whats.append(_seal_difference(chain, stored.summary))
        for what in whats:
            if what:
                self._findings.add(f"session {session_id}", what, session_id=session_id)

    def _story_difference(self, session_id: str, chain: _Chain) -> str:
        try:
            stored = self._tx.row("audit_states.session", _Story, id=session_id)
        except Exception as error:  # noqa: BLE001 - a damaged row: its text goes on record
            return f"its row {damage_text(error)}"
        if stored is None:
            return ""
        if chain.story is None:
            return "is not opened by any event"
        return _difference("its row", stored, chain.story)


def _end_difference(chain: _Chain, stored: _Stored) -> str:
    if stored.last_seq != chain.seq:
        return f"ends at event {chain.seq}, its row says {stored.last_seq}"
    if stored.last_hash != chain.digest:
        return f"its row's hash is not that of its last event, {chain.seq}"
    return ""


def _counter_difference(chain: _Chain, stored: _Stored) -> str:
    try:
        counters = msgspec.json.decode(stored.counters, type=Counters)
    except msgspec.DecodeError as error:
        return f"its counters: {damage_text(error)}"
    return _difference("its counters", counters, chain.counters)


def _seal_difference(chain: _Chain, summary: str) -> str:
    try:
        sealed = msgspec.json.decode(summary, type=Summary)
        counters = msgspec.convert(sealed.counters, Counters)
    except msgspec.DecodeError as error:
        return f"its summary: {damage_text(error)}"
    events = Summary(
        counters=sealed.counters,
        first_seq=min(1, chain.seq),
        last_seq=chain.seq,
        last_hash=(chain.digest or b"").hex(),
    )
    return _difference("its summary", counters, chain.counters) or _difference(
        "its summary", sealed, events
    )


def _difference(what: str, stored: msgspec.Struct, by_events: msgspec.Struct) -> str:
    for field in stored.__struct_fields__:
        says, should = getattr(stored, field), getattr(by_events, field)
        if says != should:
            return f"{what} says {field} {says!r}, its events {should!r}"
    return ""
