"""Events a page at a time: read past damage, printed for people and programs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import msgspec

from supervisor.cli.output import print_json, print_wrapped
from supervisor.clock import from_us, iso
from supervisor.events.log import EventRow
from supervisor.governance.sound_rows import BEFORE_ALL, NumberKey, damage_text, sound_rows
from supervisor.money import usd_text
from supervisor.storage.database import Transaction

PAGE_ROWS = 500
#: What of a payload is a moment, or always money; other amounts are in their account's unit.
_MOMENTS = frozenset(
    {
        "run_at",
        "window_start",
        "window_end",
        "retry_at",
        "backup_at",
        "clock_before",
        "clock_at",
        "deadline_at",
        "expires_at",
    }
)
_MONEY = frozenset({"cost", "cost_before", "cost_max"})


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are wanted; None lets all through. `since` in microseconds since 1970."""

    session_id: str | None
    worker: str | None
    kind: str | None
    correlation_id: str | None
    since: int | None


class Damaged(msgspec.Struct, frozen=True, kw_only=True):
    """An event that can't be read."""

    position: int
    why: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some events, and where to go on; `is_last` says that there are no more for now."""

    rows: list[EventRow]
    damaged: list[Damaged]
    last_position: int
    is_last: bool


def read_page(tx: Transaction, wanted: EventFilter, position: int) -> Page:
    """Return the next page after `position`."""
    values = msgspec.structs.asdict(wanted)
    damaged: list[Damaged] = []

    def read(after: int) -> Iterator[EventRow]:
        return tx.each("events.after", EventRow, position=after, rows_max=PAGE_ROWS, **values)

    def pass_over(after: int, error: Exception) -> int:
        broken = tx.row("status.next_event", NumberKey, position=after, **values)
        if broken is None:
            raise error
        damaged.append(Damaged(position=broken.key, why=damage_text(error)))
        return broken.key

    sound = sound_rows(read, after=position, key=lambda row: row.position, pass_over=pass_over)
    rows = list(itertools.islice(sound, PAGE_ROWS))
    reached = [position, *(row.position for row in rows), *(one.position for one in damaged)]
    return Page(
        rows=rows,
        damaged=damaged,
        last_position=max(reached),
        is_last=len(rows) < PAGE_ROWS,
    )


def position_before_newest(tx: Transaction, wanted: EventFilter, rows_max: int) -> int:
    """Return the position after which the newest `rows_max` events begin."""
    values = msgspec.structs.asdict(wanted)
    first = None
    for row in tx.each("status.newest_events", NumberKey, rows_max=rows_max, **values):
        first = row.key
    return BEFORE_ALL if first is None else first - 1


def print_page(page: Page, *, is_json: bool) -> None:
    """Print a page in the order of positions."""
    things: list[EventRow | Damaged] = [*page.rows, *page.damaged]
    for thing in sorted(things, key=lambda thing: thing.position):
        if is_json:
            print_json(_as_json(thing))
        else:
            print_wrapped(_as_line(thing))


def _as_json(thing: EventRow | Damaged) -> dict[str, object]:
    if isinstance(thing, Damaged):
        return {"position": thing.position, "damaged": thing.why}
    payload = _payload(thing)
    known: dict[str, object] = {
        "position": thing.position,
        "session_id": thing.session_id,
        "seq": thing.seq,
        "at": from_us(thing.at).isoformat().replace("+00:00", "Z"),
        "kind": thing.kind,
        "actor": thing.actor,
        "correlation_id": thing.correlation_id,
        "command_id": thing.command_id,
        "state_bearing": thing.state_bearing,
        "payload": payload,
    }
    return known if payload is not None else {**known, "damaged": thing.payload}


def _as_line(thing: EventRow | Damaged) -> str:
    if isinstance(thing, Damaged):
        return f"(position {thing.position}) {thing.why}"
    payload = _payload(thing)
    if payload is None:
        told = f"(damaged payload) {thing.payload}"
    else:
        told = " ".join(f"{key}={_value(key, value)}" for key, value in payload.items())
    place = f"{thing.session_id}:{thing.seq}"
    return f"{iso(from_us(thing.at))} {thing.kind} {place} by {thing.actor}; {told}".rstrip("; ")


def _payload(row: EventRow) -> Mapping[str, object] | None:
    try:
        return msgspec.json.decode(row.payload, type=dict[str, object])
    except msgspec.DecodeError:
        return None


def _value(key: str, value: object) -> str:
    if isinstance(value, int) and key in _MOMENTS:
        return iso(from_us(value))
    if isinstance(value, int) and key in _MONEY:
        return usd_text(value).replace(" ", "")
    if isinstance(value, str) and value and not any(space in value for space in " \n\t"):
        return value
    return msgspec.json.encode(value).decode()
