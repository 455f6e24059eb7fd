"""Events for those who fold them: one after the other, past what can't be read of them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from supervisor.events import kinds
from supervisor.events.kinds import KINDS, Event
from supervisor.governance.sound_rows import BEFORE_ALL, NumberKey, TextKey, damage_text, sound_rows
from supervisor.ledger.holds import find_hold
from supervisor.storage.database import Transaction

_DAMAGES_MAX = 100


class DamagedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that could not be read; `session_id` and `seq` are given where they are known."""

    position: int
    what: str
    session_id: str = ""
    seq: int | None = None


def damaged_text(damaged: DamagedEvent) -> str:
    """Return where an event is that can't be read, and why it can't."""
    number = "" if damaged.seq is None else f":{damaged.seq}"
    of = f" ({damaged.session_id}{number})" if damaged.session_id else ""
    return f"event at position {damaged.position}{of}: {damaged.what}"


def ahead_text(count: int) -> str:
    """Return that events are in no window, and why."""
    return f"{count} events happened after now, by a clock that was ahead, and are not counted"


class FoldedRow(msgspec.Struct, frozen=True):
    """What a fold needs of an event's row; `at` in microseconds since 1970 UTC."""

    key: int
    session_id: str
    seq: int
    at: int
    kind: str
    payload: str

    @property
    def worker(self) -> str:
        """Whose session it is of."""
        return self.session_id.rpartition("@")[0]


def whose(tx: Transaction, row: FoldedRow, event: Event | None) -> tuple[str, str]:
    """Return the session and the worker that an event tells of, empty where they are gone.

    A person's correction of a call stands in the system's session, the call in its worker's.
    """
    if not isinstance(event, kinds.HoldReconciled):
        return row.session_id, row.worker
    hold = find_hold(tx, event.hold)
    return ("", "") if hold is None else (hold.session_id, hold.worker)


def has_sessions_before(tx: Transaction, at: int) -> bool:
    """Return whether any session was opened before a moment in microseconds since 1970."""
    return tx.row("scorecard.older_session", TextKey, at=at) is not None


class EventReading:
    """Reads events in one transaction; what can't be read of them is named and passed over.

    `damaged` holds the first hundred of `damaged_total`.
    """

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.damaged: list[DamagedEvent] = []
        self.damaged_total = 0

    def since(self, since: int) -> Iterator[tuple[FoldedRow, Event | None]]:
        """Yield every event that happened then or later, None for one that can't be parsed."""
        return self._each("since", since=since)

    def of_session(self, session_id: str) -> Iterator[tuple[FoldedRow, Event | None]]:
        """Yield every event of a session, None for one that can't be parsed."""
        return self._each("of_session", session_id=session_id)

    def _each(self, which: str, **values: int | str) -> Iterator[tuple[FoldedRow, Event | None]]:
        def pass_over(at: int, error: Exception) -> int:
            broken = self._tx.row(f"scorecard.next_{which}", NumberKey, after=at, **values)
            if broken is None:
                raise error
            session_id = str(values.get("session_id", ""))
            self._name(broken.key, damage_text(error), session_id=session_id)
            return broken.key

        rows = sound_rows(
            lambda at: self._tx.each(f"scorecard.events_{which}", FoldedRow, after=at, **values),
            after=BEFORE_ALL,
            key=lambda row: row.key,
            pass_over=pass_over,
        )
        for row in rows:
            yield row, self._parse(row)

    def _parse(self, row: FoldedRow) -> Event | None:
        try:
            return msgspec.json.decode(row.payload, type=KINDS[row.kind])
        except KeyError:
            what = f"kind {row.kind!r} is not known"
        except msgspec.DecodeError as error:
            what = f"its payload {damage_text(error)}"
        self._name(row.key, what, session_id=row.session_id, seq=row.seq)
        return None

    def _name(self, position: int, what: str, *, session_id: str, seq: int | None = None) -> None:
        self.damaged_total += 1
        if len(self.damaged) < _DAMAGES_MAX:
            one = DamagedEvent(position=position, what=what, session_id=session_id, seq=seq)
            self.damaged.append(one)
