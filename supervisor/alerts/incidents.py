"""Incidents: what people wrote down while something went wrong, linked to alerts and drills."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import msgspec

from supervisor.alerts.record import Alert, find_alert
from supervisor.clock import from_us, iso, to_us
from supervisor.errors import IllegalMove, NotFound, UsageError
from supervisor.events import incident_kinds
from supervisor.events.event import Event
from supervisor.events.log import Origin
from supervisor.governance.commands import once
from supervisor.governance.rotation import system_journal
from supervisor.storage.database import Transaction

TITLE_MAX = 200
TEXT_MAX = 10_000
_LIST = "`supervisor incident` lists those that are open"


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as stored; moments in microseconds since 1970 UTC."""

    id: str
    title: str
    opened_at: int
    opened_by: str
    closed_at: int | None
    closed_by: str
    closed_why: str


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wrote down; `alert_id` and `drill_id` are empty where it is about neither."""

    number: int
    noted_at: int
    noted_by: str
    text: str
    alert_id: str
    drill_id: str


class OpenCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Something goes wrong that people have to work on."""

    title: str


class NoteCommand(msgspec.Struct, frozen=True, kw_only=True):
    """What was found or done, and what it is about."""

    incident: str
    text: str
    alert: str = ""
    drill: str = ""


class CloseCommand(msgspec.Struct, frozen=True, kw_only=True):
    """The incident is over; `why` is what it was."""

    incident: str
    why: str


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The incident that a command was about."""

    incident: str
    title: str


class Dossier(msgspec.Struct, frozen=True, kw_only=True):
    """An incident with its notes, and the alerts and drills that they are about."""

    incident: Incident
    notes: tuple[Note, ...]
    alerts: dict[str, Alert]
    drills: dict[str, LinkedDrill]


class LinkedDrill(msgspec.Struct, frozen=True, kw_only=True):
    """A drill as far as a note needs it."""

    id: str
    drill: str
    status: str
    what: str


def open_incident(
    tx: Transaction, command: OpenCommand, origin: Origin, timezone: ZoneInfo
) -> Done:
    """Open an incident.

    Raises:
        UsageError: the title is empty or too long.
        CommandConflict: the command id was used for something else.
    """
    _check_text("title", command.title, TITLE_MAX)

    def perform() -> Done:
        digest = hashlib.sha256(f"{origin.command_id} {to_us(origin.at)}".encode()).hexdigest()
        incident = f"i-{digest[:12]}"
        now, title = to_us(origin.at), command.title
        tx.run("incidents.open", id=incident, title=title, now=now, by=origin.actor)
        _record(tx, incident_kinds.IncidentOpened(incident=incident, title=title), origin, timezone)
        return Done(incident=incident, title=title)

    return once(tx, "incident_open", command, origin, result=Done, perform=perform)


def note_incident(
    tx: Transaction, command: NoteCommand, origin: Origin, timezone: ZoneInfo
) -> Done:
    """Write down what was found or done.

    Raises:
        NotFound: there is no such incident, alert or drill.
        IllegalMove: the incident is closed.
        UsageError: the text is empty or too long.
        CommandConflict: the command id was used for something else.
    """
    _check_text("note", command.text, TEXT_MAX)

    def perform() -> Done:
        incident = _open_one(tx, command.incident)
        if command.alert:
            find_alert(tx, command.alert)
        if command.drill:
            _find_drill(tx, command.drill)
        tx.run(
            "incidents.note",
            id=incident.id,
            now=to_us(origin.at),
            by=origin.actor,
            text=command.text,
            alert_id=command.alert,
            drill_id=command.drill,
        )
        noted = incident_kinds.IncidentNoted(
            incident=incident.id, text=command.text, alert=command.alert, drill=command.drill
        )
        _record(tx, noted, origin, timezone)
        return Done(incident=incident.id, title=incident.title)

    return once(tx, "incident_note", command, origin, result=Done, perform=perform)


def close_incident(
    tx: Transaction, command: CloseCommand, origin: Origin, timezone: ZoneInfo
) -> Done:
    """Close an incident.

    Raises:
        NotFound: there is no such incident.
        IllegalMove: it is closed.
        UsageError: why is empty or too long.
        CommandConflict: the command id was used for something else.
    """
    _check_text("why", command.why, TEXT_MAX)

    def perform() -> Done:
        incident = _open_one(tx, command.incident)
        now = to_us(origin.at)
        tx.run("incidents.close", id=incident.id, now=now, by=origin.actor, why=command.why)
        closed = incident_kinds.IncidentClosed(incident=incident.id, why=command.why)
        _record(tx, closed, origin, timezone)
        return Done(incident=incident.id, title=incident.title)

    return once(tx, "incident_close", command, origin, result=Done, perform=perform)


def newest_incidents(tx: Transaction, limit: int, *, is_all: bool) -> list[Incident]:
    """Return the newest incidents, those that are open or all of them."""
    return tx.rows("incidents.newest", Incident, rows_max=limit, is_all=int(is_all))


def read_dossier(tx: Transaction, incident_id: str) -> Dossier:
    """Return an incident with all that belongs to it.

    Raises:
        NotFound: there is none.
    """
    incident = _find(tx, incident_id)
    notes = tx.rows("incidents.notes", Note, id=incident.id)
    alerts = {note.alert_id: find_alert(tx, note.alert_id) for note in notes if note.alert_id}
    drills = {note.drill_id: _find_drill(tx, note.drill_id) for note in notes if note.drill_id}
    return Dossier(incident=incident, notes=tuple(notes), alerts=alerts, drills=drills)


def render(dossier: Dossier) -> str:
    """Return an incident as Markdown."""
    incident = dossier.incident
    lines = [f"# {_line(incident.title)}", "", f"- Incident {incident.id}"]
    lines.append(f"- Opened {iso(from_us(incident.opened_at))} by {_line(incident.opened_by)}")
    if incident.closed_at is not None:
        lasted_s = (incident.closed_at - incident.opened_at) / 1e6
        closed = f"{iso(from_us(incident.closed_at))} by {_line(incident.closed_by)}"
        lines.append(f"- Closed {closed}, after {max(lasted_s, 0) / 60:.0f} min")
        lines += ["", "## What it was", "", incident.closed_why]
    else:
        lines.append("- Open")
    if dossier.notes:
        lines += ["", "## What was found and done", ""]
        lines += [line for note in dossier.notes for line in _note_lines(dossier, note)]
    return "\n".join(lines) + "\n"


def _note_lines(dossier: Dossier, note: Note) -> Iterator[str]:
    yield f"- {iso(from_us(note.noted_at))}, {_line(note.noted_by)}: {_line(note.text)}"
    alert, drill = dossier.alerts.get(note.alert_id), dossier.drills.get(note.drill_id)
    if alert is not None:
        yield f"  - alert {alert.id}, since {iso(from_us(alert.raised_at))}: {_line(alert.title)}"
    if drill is not None:
        yield f"  - drill {drill.drill} ({drill.id}): {drill.status}, {_line(drill.what)}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _check_text(what: str, text: str, chars_max: int) -> None:
    if not text.strip() or len(text) > chars_max:
        fix = f"give 1 to {chars_max} characters"
        raise UsageError(subject=f"the {what} of an incident", what="can't be kept", fix=fix)


def _find(tx: Transaction, incident_id: str) -> Incident:
    incident = tx.row("incidents.one", Incident, id=incident_id)
    if incident is None:
        raise NotFound(subject=f"incident {incident_id[:80]}", what="does not exist", fix=_LIST)
    return incident


def _open_one(tx: Transaction, incident_id: str) -> Incident:
    incident = _find(tx, incident_id)
    if incident.closed_at is not None:
        what = f"was closed by {incident.closed_by}, {iso(from_us(incident.closed_at))}"
        fix = "open another one; what was written down stays"
        raise IllegalMove(subject=f"incident {incident.id}", what=what, fix=fix)
    return incident


def _find_drill(tx: Transaction, drill_id: str) -> LinkedDrill:
    drill = tx.row("incidents.drill", LinkedDrill, id=drill_id)
    if drill is None:
        fix = "`supervisor events --kind drill_failed` has the ids"
        raise NotFound(subject=f"drill {drill_id[:80]}", what="does not exist", fix=fix)
    return drill


def _record(tx: Transaction, event: Event, origin: Origin, timezone: ZoneInfo) -> None:
    with system_journal(tx, timezone, origin) as journal:
        journal.add(event)
