"""The append-only log: gap-free numbers and a hash chain per session."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Self, TypeAlias

import msgspec

from supervisor.clock import to_us
from supervisor.events.counters import Counters
from supervisor.events.kinds import KINDS, Event
from supervisor.redaction import REDACTION
from supervisor.storage.database import Transaction
from supervisor.storage.memory import Keep, Later

#: A row's columns but `position` and `hash`, in the order of the table.
_Columns: TypeAlias = tuple[str, int, int, str, str, str, str, bool, str]

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


class Head(msgspec.Struct, kw_only=True):
    """The end of a session's chain, and what its events add up to; journals change it in place."""

    session_id: str
    last_seq: int
    last_hash: bytes
    counters: Counters
    is_sealed: bool


class _StoredHead(msgspec.Struct, frozen=True):
    last_seq: int
    last_hash: bytes
    counters: str
    is_sealed: bool


_APPEND = Later(
    "events.append",
    "session_id",
    "seq",
    "at",
    "kind",
    "actor",
    "correlation_id",
    "command_id",
    "state_bearing",
    "payload",
    "hash",
    is_new=True,
)
_HEADS: Keep[str, Head] = Keep(
    "sessions",
    Later("events.advance", "last_seq", "last_hash", "counters", "session_id"),
    lambda head: (
        head.last_seq,
        head.last_hash,
        _ENCODER.encode(head.counters).decode(),
        head.session_id,
    ),
)


def head_of(tx: Transaction, session_id: str) -> Head:
    """Return the end of a session's chain as it stands; nobody but a journal changes it.

    Raises:
        KeyError: there is no such session.
    """
    heads = tx.kept(_HEADS)
    head = heads.get(session_id)
    if head is None:
        stored = tx.row("events.head", _StoredHead, session_id=session_id)
        if stored is None:
            raise KeyError(session_id)
        head = heads[session_id] = Head(
            session_id=session_id,
            last_seq=stored.last_seq,
            last_hash=stored.last_hash,
            counters=_COUNTERS.decode(stored.counters),
            is_sealed=stored.is_sealed,
        )
    return head


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

    def __init__(self, tx: Transaction, session_id: str, origin: Origin) -> None:
        """Begin a journal.

        `origin` is that of the events that are added next, and may be changed in between.
        """
        self.session_id = session_id
        self.origin = origin
        self._tx = tx
        self._events: list[tuple[Event, Origin]] = []

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
        head = head_of(self._tx, self.session_id)
        assert not head.is_sealed, f"session {self.session_id} is sealed: it takes no more events"
        for event, origin in self._events:
            self._append(event, origin, head)
        self._events.clear()
        self._tx.touch(_HEADS, self.session_id)
        return head.last_seq

    def _append(self, event: Event, origin: Origin, head: Head) -> None:
        seq = head.last_seq + 1
        columns = (
            self.session_id,
            seq,
            to_us(origin.at),
            event.kind,
            # Redacted before the hash is taken, which is of what is kept.
            REDACTION.text(origin.actor),
            REDACTION.text(origin.correlation_id),
            REDACTION.text(origin.command_id),
            event.state_bearing,
            REDACTION.payload(event, _ENCODER.encode(event).decode()),
        )
        digest = _chain(head.last_hash, columns)
        self._tx.later(_APPEND, *columns, digest)
        head.last_seq, head.last_hash = seq, digest
        head.counters.add(event)
        self._tx.publish(Recorded(session_id=self.session_id, seq=seq, origin=origin, event=event))


def _chain(previous: bytes, columns: _Columns) -> bytes:
    """Return the hash of a row that also binds its predecessor's hash (SHA-256).

    Each column is taken with its length, so that no two rows give the same bytes.
    """
    who, seq, at, kind, actor, tick, command, state_bearing, payload = columns
    number, moment = str(seq), str(at)
    text = (
        f"{len(who)}:{who}{len(number)}:{number}{len(moment)}:{moment}{len(kind)}:{kind}"
        f"{len(actor)}:{actor}{len(tick)}:{tick}{len(command)}:{command}1:{state_bearing:d}"
        f"{len(payload)}:{payload}"
    )
    return hashlib.sha256(previous + text.encode()).digest()


def chain_row(previous: bytes, row: EventRow) -> bytes:
    """Return the hash that `row` should have after a row with the hash `previous`."""
    columns = (
        row.session_id,
        row.seq,
        row.at,
        row.kind,
        row.actor,
        row.correlation_id,
        row.command_id,
        row.state_bearing,
        row.payload,
    )
    return _chain(previous, columns)


def parse(row: EventRow) -> Event:
    """Return the event of a stored row.

    Raises:
        KeyError: its kind is not known to this version.
        msgspec.DecodeError: its payload is damaged.
    """
    return msgspec.json.decode(row.payload, type=KINDS[row.kind])
