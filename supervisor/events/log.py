"""The append-only log: gap-free numbers and a hash chain per session."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Self, TypedDict

import msgspec

from supervisor.clock import to_us
from supervisor.events.counters import Counters
from supervisor.events.kinds import KINDS, Event
from supervisor.redaction import REDACTION
from supervisor.storage.database import Transaction

_ENCODER = msgspec.json.Encoder()
_COUNTERS = msgspec.json.Decoder(Counters)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where events come from: when, by whom, and as part of what.

    `correlation_id` joins what belongs together (a tick); `command_id` names the command that
    made the change.
    """

    at: datetime
    actor: str
    correlation_id: str = ""
    command_id: str = ""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place in the log; what listeners get after the commit."""

    session_id: str
    seq: int
    origin: Origin
    event: Event


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a session's chain."""

    last_seq: int
    last_hash: bytes
    counters: str


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the log as stored; `at` in microseconds since 1970 UTC."""

    position: int
    session_id: str
    seq: int
    at: int
    kind: str
    actor: str
    correlation_id: str
    command_id: str
    state_bearing: bool
    payload: str
    hash: bytes


class Journal:
    """The events of one transaction in one session, written together when the block ends.

    Use it as a context manager inside a transaction function. The change of state that the
    events tell of belongs into the same transaction; on an exception nothing is written.
    """

    def __init__(
        self, tx: Transaction, session_id: str, origin: Origin, head: Head | None = None
    ) -> None:
        """Begin a journal; `head` spares reading it, if nothing was appended since it was read.

        `origin` is that of the events that are added next, and may be changed in between.
        """
        self.session_id = session_id
        self.origin = origin
        self._tx = tx
        self._events: list[tuple[Event, Origin]] = []
        self._head = head

    def add(self, event: Event) -> None:
        """Append `event` after those that were added before."""
        self._events.append((event, self.origin))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._events:
            self.flush()

    def flush(self) -> int:
        """Write what was added and return the session's last number.

        Raises:
            KeyError: there is no such session.
        """
        head = self._head or self._tx.row("events.head", Head, session_id=self.session_id)
        self._head = None
        if head is None:
            raise KeyError(self.session_id)
        counters = _COUNTERS.decode(head.counters)
        seq, digest = head.last_seq, head.last_hash
        for event, origin in self._events:
            seq += 1
            digest = self._append(event, origin, seq, digest)
            counters.add(event)
        self._events.clear()
        changed = self._tx.run(
            "events.advance",
            session_id=self.session_id,
            last_seq=seq,
            last_hash=digest,
            counters=_ENCODER.encode(counters).decode(),
        )
        assert changed == 1, f"session {self.session_id} is sealed: it takes no more events"
        return seq

    def _append(self, event: Event, origin: Origin, seq: int, previous: bytes) -> bytes:
        columns: Columns = {
            "session_id": self.session_id,
            "seq": seq,
            "at": to_us(origin.at),
            "kind": event.kind,
            # Cleaned before the hash is taken: the store cleans what it writes, and must find
            # nothing left to do here.
            "actor": REDACTION.text(origin.actor),
            "correlation_id": REDACTION.text(origin.correlation_id),
            "command_id": REDACTION.text(origin.command_id),
            "state_bearing": event.state_bearing,
            "payload": REDACTION.payload(event, _ENCODER.encode(event).decode()),
        }
        digest = chain(previous, columns)
        self._tx.run("events.append", hash=digest, **columns)
        self._tx.publish(Recorded(session_id=self.session_id, seq=seq, origin=origin, event=event))
        return digest


class Columns(TypedDict):
    """A row's columns but `position` and `hash`, in the order of the table."""

    session_id: str
    seq: int
    at: int
    kind: str
    actor: str
    correlation_id: str
    command_id: str
    state_bearing: bool
    payload: str


def chain(previous: bytes, columns: Columns) -> bytes:
    """Return the hash of a row that also binds its predecessor's hash (SHA-256).

    Each column is taken with its length, so that no two rows give the same bytes.
    """
    seq, at = str(columns["seq"]), str(columns["at"])
    who, kind, payload = columns["session_id"], columns["kind"], columns["payload"]
    actor, tick, command = columns["actor"], columns["correlation_id"], columns["command_id"]
    text = (
        f"{len(who)}:{who}{len(seq)}:{seq}{len(at)}:{at}{len(kind)}:{kind}{len(actor)}:{actor}"
        f"{len(tick)}:{tick}{len(command)}:{command}1:{columns['state_bearing']:d}"
        f"{len(payload)}:{payload}"
    )
    return hashlib.sha256(previous + text.encode()).digest()


def chain_row(previous: bytes, row: EventRow) -> bytes:
    """Return the hash that `row` should have after a row with the hash `previous`."""
    columns: Columns = {
        "session_id": row.session_id,
        "seq": row.seq,
        "at": row.at,
        "kind": row.kind,
        "actor": row.actor,
        "correlation_id": row.correlation_id,
        "command_id": row.command_id,
        "state_bearing": row.state_bearing,
        "payload": row.payload,
    }
    return chain(previous, columns)


def parse(row: EventRow) -> Event:
    """Return the event of a stored row.

    Raises:
        KeyError: its kind is not known to this version.
        msgspec.DecodeError: its payload is damaged.
    """
    return msgspec.json.decode(row.payload, type=KINDS[row.kind])
