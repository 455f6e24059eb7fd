"""What the store keeps of alerts, and the transactions that change it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from supervisor.alerts.facts import Fact, Over, Said, Severity, read_event
from supervisor.clock import from_us, iso, to_us
from supervisor.errors import NotFound
from supervisor.events import alert_kinds
from supervisor.events.kinds import KINDS
from supervisor.events.log import Origin
from supervisor.governance.rotation import system_journal
from supervisor.ledger.holds import find_account
from supervisor.storage.database import Transaction

#: Facts that are looked at, not told by an event: they are over when they are not seen any more.
SEEN = "now:"
_PAGE_ROWS = 200
_REMINDER_MAX_US = 86_400_000_000
_DOUBLINGS_MAX = 16
_ERROR_MAX = 500
_TEXT_MAX = 2_000


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A channel and the least severity that it is told of."""

    channel: str
    least: Severity


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What raising needs of the config; `remind_after_s` is the first reminder's delay."""

    routes: tuple[Route, ...]
    remind_after_s: float
    timezone: ZoneInfo


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as stored; moments in microseconds since 1970 UTC.

    `count` is how often its fact was found, `until_at` when it is over by itself, `remind_at` when
    the next reminder is due, None where there is none.
    """

    id: str
    key: str
    severity: Severity
    title: str
    what: str
    done: str
    command: str
    count: int
    reminders: int
    raised_at: int
    last_at: int
    until_at: int | None
    remind_at: int | None
    acknowledged_at: int | None
    acknowledged_by: str
    resolved_at: int | None
    resolved_why: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel is sent; `id` is the same at each try, moments are ISO in UTC."""

    id: str
    alert: str
    kind: str
    severity: Severity
    title: str
    what: str
    done: str
    command: str
    count: int
    since: str
    at: str


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a channel has not taken yet."""

    id: str
    body: str
    attempts: int

    @property
    def message(self) -> Message:
        return msgspec.json.decode(self.body, type=Message)


class Undelivered(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages wait for their channels, and since when."""

    count: int
    oldest_at: int | None


class _Cursor(msgspec.Struct, frozen=True):
    position: int


class _Row(msgspec.Struct, frozen=True):
    position: int
    kind: str
    payload: str


def take_in(tx: Transaction, terms: Terms, origin: Origin) -> bool:
    """Raise and resolve what the events since the last time say; return whether there are more.

    The events' place and what they raise are one transaction: none is lost or told twice.
    """
    cursor = tx.row("alerts.cursor", _Cursor)
    assert cursor is not None, "the migration makes it"
    rows = tx.rows("alerts.matching", _Row, position=cursor.position, rows_max=_PAGE_ROWS)
    is_more = len(rows) == _PAGE_ROWS
    newest = tx.row("alerts.newest", _Cursor)
    assert newest is not None, "a maximum always has a row"
    # Before raising, whose own events come after it.
    tx.run("alerts.move_cursor", position=rows[-1].position if is_more else newest.position)
    for row in rows:
        found = _read(row)
        if isinstance(found, Fact):
            raise_fact(tx, found, terms, origin)
        elif found is not None:
            resolve(tx, found, terms, origin)
    return is_more


def has_news(tx: Transaction) -> bool:
    """Return whether `take_in` would find anything."""
    cursor = tx.row("alerts.cursor", _Cursor)
    assert cursor is not None, "the migration makes it"
    return bool(tx.rows("alerts.matching", _Row, position=cursor.position, rows_max=1))


def _read(row: _Row) -> Fact | Over | None:
    try:
        return read_event(msgspec.json.decode(row.payload, type=KINDS[row.kind]))
    except msgspec.DecodeError:
        return Fact(
            key=f"event_damaged:{row.position}",
            severity=Severity.CRITICAL,
            title="an event of the record is damaged",
            what=f"event {row.position}, a {row.kind}, can't be read",
            done="nothing: what it told of may be unknown",
            command="`supervisor audit` says what else is damaged",
            said=Said.ONCE,
        )


def raise_fact(tx: Transaction, fact: Fact, terms: Terms, origin: Origin) -> None:
    """Record a fact, and tell each channel that it concerns, unless it is known already."""
    now = to_us(origin.at)
    key = _dated(fact, origin, terms.timezone)
    before = tx.row("alerts.latest", Alert, key=key)
    if before is not None and (before.resolved_at is None or fact.said is not Said.WHILE_IT_LASTS):
        tx.run("alerts.again", id=before.id, now=now)
        return
    account = find_account(tx, fact.account) if fact.account else None
    until_at = account.resets_at if account else None
    lasts = fact.said is Said.WHILE_IT_LASTS and (account is None or until_at is not None)
    alert = Alert(
        id=_free_id(tx, f"{key} {now}"),
        key=key,
        severity=fact.severity,
        title=fact.title[:_TEXT_MAX],
        what=fact.what[:_TEXT_MAX],
        done=fact.done,
        command=fact.command,
        count=1,
        reminders=0,
        raised_at=now,
        last_at=now,
        until_at=until_at,
        remind_at=now + round(terms.remind_after_s * 1e6) if lasts else None,
        acknowledged_at=None,
        acknowledged_by="",
        resolved_at=None if lasts else now,
        resolved_why="" if lasts else "it is told once",
    )
    tx.run("alerts.raise", **msgspec.structs.asdict(alert))
    _tell(tx, alert, "raised", terms.routes, origin)
    with system_journal(tx, terms.timezone, origin) as journal:
        journal.add(
            alert_kinds.AlertRaised(
                alert=alert.id, key=key, severity=alert.severity, title=alert.title
            )
        )


def _free_id(tx: Transaction, name: str) -> str:
    """Return an id that no alert has: a fact may be over and come again within one look."""
    number = 0
    while True:
        named = name if not number else f"{name} {number}"
        alert_id = f"a-{hashlib.sha256(named.encode()).hexdigest()[:16]}"
        if tx.row("alerts.one", Alert, id=alert_id) is None:
            return alert_id
        number += 1


def _dated(fact: Fact, origin: Origin, timezone: ZoneInfo) -> str:
    if fact.said is not Said.ONCE_A_DAY:
        return fact.key
    return f"{fact.key}@{origin.at.astimezone(timezone).date().isoformat()}"


def resolve(tx: Transaction, over: Over, terms: Terms, origin: Origin) -> None:
    """Close the alert of a fact that is over, and say so; where none is open, do nothing."""
    alert = tx.row("alerts.latest", Alert, key=over.key)
    if alert is None or alert.resolved_at is not None:
        return
    tx.run("alerts.resolve", id=alert.id, now=to_us(origin.at), why=over.why)
    closed = msgspec.structs.replace(alert, what=over.why, done="", command="")
    _tell(tx, closed, "resolved", terms.routes, origin)
    with system_journal(tx, terms.timezone, origin) as journal:
        journal.add(alert_kinds.AlertResolved(alert=alert.id, key=alert.key, why=over.why))


def note_seen(
    tx: Transaction, seen: Sequence[Fact], over: Sequence[Over], terms: Terms, origin: Origin
) -> None:
    """Record what was looked at: facts that hold now, others that are over, and reminders.

    A fact that was seen and is not any more is over, as is one whose account's period has ended.
    """
    now = to_us(origin.at)
    keys = {fact.key for fact in seen}
    for alert in open_alerts(tx):
        if alert.key.startswith(SEEN) and alert.key not in keys:
            resolve(tx, Over(key=alert.key, why="it is seen no more"), terms, origin)
        elif alert.until_at is not None and alert.until_at <= now:
            resolve(tx, Over(key=alert.key, why="its period has ended"), terms, origin)
    for ended in over:
        resolve(tx, ended, terms, origin)
    is_open = {alert.key for alert in open_alerts(tx)}
    for fact in seen:
        if fact.key not in is_open:
            raise_fact(tx, fact, terms, origin)
    for alert in open_alerts(tx):
        if is_reminder_due(alert, now):
            _remind(tx, alert, terms, origin)


def is_reminder_due(alert: Alert, now: int) -> bool:
    """Return whether an open alert is to be told of again; none is that somebody knows of."""
    return alert.remind_at is not None and alert.remind_at <= now and not alert.acknowledged_at


def _remind(tx: Transaction, alert: Alert, terms: Terms, origin: Origin) -> None:
    """Tell again, at twice the distance each time, those that have taken what was told before."""
    first_us = round(terms.remind_after_s * 1e6)
    step_us = first_us << min(alert.reminders + 1, _DOUBLINGS_MAX)
    remind_at = to_us(origin.at) + min(step_us, max(_REMINDER_MAX_US, first_us))
    tx.run("alerts.remind", id=alert.id, remind_at=remind_at)
    waiting = {one.channel for one in tx.rows("alerts.waiting_channels", _Channel, id=alert.id)}
    routes = tuple(route for route in terms.routes if route.channel not in waiting)
    again = msgspec.structs.replace(alert, reminders=alert.reminders + 1)
    _tell(tx, again, "reminder", routes, origin)


class _Channel(msgspec.Struct, frozen=True):
    channel: str


def _tell(
    tx: Transaction, alert: Alert, kind: str, routes: Sequence[Route], origin: Origin
) -> None:
    number = f".{alert.reminders}" if kind == "reminder" else ""
    for route in routes:
        if not alert.severity.reaches(route.least):
            continue
        message = Message(
            id=f"{alert.id}:{kind}{number}:{route.channel}",
            alert=alert.id,
            kind=kind,
            severity=alert.severity,
            title=alert.title,
            what=alert.what,
            done=alert.done,
            command=alert.command,
            count=alert.count,
            since=iso(from_us(alert.raised_at)),
            at=iso(origin.at),
        )
        tx.run(
            "alerts.tell",
            id=message.id,
            alert_id=alert.id,
            channel=route.channel,
            severity_rank=alert.severity.rank,
            body=msgspec.json.encode(message).decode(),
            now=to_us(origin.at),
        )


def claim(tx: Transaction, channel: str, *, now: int, until: int, rank_min: int) -> Pending | None:
    """Take the channel's oldest message for one try: nobody else tries it before `until`."""
    return tx.row("alerts.claim", Pending, channel=channel, now=now, until=until, rank_min=rank_min)


def waits(tx: Transaction, channel: str, rank_min: int) -> bool:
    """Return whether there is anything that the channel may be told."""
    return tx.row("alerts.waits", _Cursor, channel=channel, rank_min=rank_min) is not None


def note_delivered(tx: Transaction, message_id: str, now: int) -> None:
    """Record that its channel has taken a message."""
    tx.run("alerts.delivered", id=message_id, now=now)


def note_failed(tx: Transaction, message_id: str, error: str) -> None:
    """Record that its channel did not take a message, which is tried again."""
    tx.run("alerts.failed", id=message_id, error=error[:_ERROR_MAX])


def open_alerts(tx: Transaction) -> list[Alert]:
    """Return every alert that is not over, the oldest first."""
    return tx.rows("alerts.open", Alert)


def newest_alerts(tx: Transaction, limit: int) -> list[Alert]:
    """Return the newest alerts, the newest first."""
    return tx.rows("alerts.newest_ones", Alert, rows_max=limit)


def undelivered(tx: Transaction) -> Undelivered:
    """Return how many messages wait for their channels."""
    found = tx.row("alerts.undelivered", Undelivered)
    assert found is not None, "a count always has a row"
    return found


def find_alert(tx: Transaction, alert_id: str) -> Alert:
    """Return an alert by its id.

    Raises:
        NotFound: there is none.
    """
    alert = tx.row("alerts.one", Alert, id=alert_id)
    if alert is None:
        raise NotFound(
            subject=f"alert {alert_id[:80]}",
            what="does not exist",
            fix="`supervisor alerts --all` lists the newest",
        )
    return alert
