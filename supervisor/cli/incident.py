"""`supervisor incident`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from supervisor.alerts.incidents import (
    CloseCommand,
    Done,
    NoteCommand,
    OpenCommand,
    close_incident,
    newest_incidents,
    note_incident,
    open_incident,
    read_dossier,
    render,
)
from supervisor.cli.invocation import Invocation
from supervisor.cli.output import plain, print_json, print_table
from supervisor.cli.parser import Parser, did_you_mean, whole_number
from supervisor.cli.signing import origin_of
from supervisor.cli.store import read_store, write_store
from supervisor.clock import from_us, iso
from supervisor.errors import UsageError

_ACTIONS = ("list", "open", "note", "close", "show", "export")
_NEEDS = {
    "list": (),
    "open": ("TITLE",),
    "note": ("ID", "TEXT"),
    "close": ("ID", "TEXT"),
    "show": ("ID",),
    "export": ("ID",),
}
_ROWS = 50


class IncidentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `incident` is told."""

    action: str
    words: list[str]
    all: bool
    limit: int
    alert: str | None
    drill: str | None
    actor: str | None
    command_id: str | None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument(
        "action", nargs="?", default="list", metavar="list|open|note|close|show|export"
    )
    parser.add_argument("words", nargs="*", metavar="ID, TITLE or TEXT")
    parser.add_argument("--all", action="store_true", help="list: also those that are closed")
    parser.add_argument(
        "--limit", type=whole_number, default=_ROWS, metavar="N", help=f"list: at most N; {_ROWS}"
    )
    parser.add_argument("--alert", metavar="ID", help="note: the alert that it is about")
    parser.add_argument("--drill", metavar="ID", help="note: the drill that it is about")
    parser.add_argument("--actor", metavar="NAME", help="who writes it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="repeating it repeats the answer, not the act"
    )
    parser.epilog = (
        'open "TITLE"; note ID "TEXT"; close ID "WHAT IT WAS"; show ID; export ID, as Markdown\n'
        "on standard output. What was written down can't be changed."
    )


def run(invocation: Invocation) -> int:
    """List, open, note, close, show or export incidents.

    Raises:
        UsageError: the words do not fit together.
        NotFound: there is no such incident, alert or drill.
        IllegalMove: the incident is closed.
    """
    options = invocation.options(IncidentOptions)
    _check(options)
    match options.action:
        case "list":
            return _list(invocation, options)
        case "show" | "export":
            return _show(invocation, options)
        case "open":
            return _do(invocation, options, open_incident, OpenCommand(title=options.words[0]))
        case "note":
            incident, text = options.words
            command = NoteCommand(
                incident=incident, text=text, alert=options.alert or "", drill=options.drill or ""
            )
            return _do(invocation, options, note_incident, command)
        case _:
            incident, why = options.words
            return _do(
                invocation, options, close_incident, CloseCommand(incident=incident, why=why)
            )


def _check(options: IncidentOptions) -> None:
    subject = f"supervisor incident {options.action}"
    if options.action not in _ACTIONS:
        fix = did_you_mean(options.action, _ACTIONS) or f"there is: {', '.join(_ACTIONS)}"
        raise UsageError(subject=subject, what="is not known", fix=fix)
    needed = _NEEDS[options.action]
    if len(options.words) != len(needed):
        form = " ".join(["supervisor incident", options.action, *needed])
        what = f"takes {' and '.join(needed) or 'nothing more'}"
        fix = f"write `{form}`, a text of several words in quotes"
        raise UsageError(subject=subject, what=what, fix=fix)
    if options.action != "note" and (options.alert or options.drill):
        fix = "--alert and --drill belong to note"
        raise UsageError(subject=subject, what="is about no alert and no drill", fix=fix)


def _list(invocation: Invocation, options: IncidentOptions) -> int:
    found = read_store(invocation.load(), newest_incidents, options.limit, is_all=options.all)
    if invocation.is_json:
        print_json({"incidents": found})
        return 0
    if not found:
        print("there are no incidents" if options.all else "no incident is open")
        return 0
    rows = [
        (
            one.id,
            "open" if one.closed_at is None else "closed",
            iso(from_us(one.opened_at)),
            one.opened_by,
            one.title,
        )
        for one in found
    ]
    print_table(("INCIDENT", "STATUS", "OPENED", "BY", "TITLE"), rows)
    return 0


def _show(invocation: Invocation, options: IncidentOptions) -> int:
    dossier = read_store(invocation.load(), read_dossier, options.words[0])
    if invocation.is_json:
        print_json(dossier)
    else:
        print(render(dossier), end="")
    return 0


def _do(
    invocation: Invocation,
    options: IncidentOptions,
    operation: Callable[..., Done],
    command: msgspec.Struct,
) -> int:
    loaded = invocation.load()
    origin = origin_of(options)
    done = write_store(loaded, operation, command, origin, loaded.timezone)
    if invocation.is_json:
        print_json(done)
    else:
        print(plain(f"incident {done.incident}: {done.title}"))
    return 0
