"""`supervisor sessions`."""

from __future__ import annotations

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_table, print_warning, print_wrapped
from supervisor.cli.parser import Parser, did_you_mean, whole_number
from supervisor.cli.signing import origin_of
from supervisor.cli.store import read_store, write_store
from supervisor.config import Loaded
from supervisor.errors import NotFound, UsageError
from supervisor.events.log import Origin
from supervisor.governance.commands import once
from supervisor.governance.rotation import resume_session
from supervisor.governance.session import SessionWithTotals
from supervisor.governance.status import moment_text, summary_of_session
from supervisor.storage.database import Transaction

_ACTIONS = ("list", "show", "resume")
_ROWS = 50
_RESUMED_WHY = "resumed on the command line"


class SessionsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `sessions` is told."""

    action: str
    id: str | None
    worker: str | None
    limit: int
    why: str | None
    actor: str | None
    command_id: str | None


class ResumeCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Resume a paused session; the same command twice is one."""

    session_id: str
    why: str


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """What a resume did."""

    session_id: str
    status: str


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("action", nargs="?", default="list", metavar="list|show|resume")
    parser.add_argument("id", nargs="?", metavar="ID", help="of show and resume")
    parser.add_argument("--worker", metavar="NAME", help="list: of one worker")
    parser.add_argument(
        "--limit",
        type=whole_number,
        default=_ROWS,
        metavar="N",
        help=f"list: the newest N; {_ROWS} if left out",
    )
    parser.add_argument("--why", metavar="TEXT", help="resume: stands in the record")
    parser.add_argument("--actor", metavar="NAME", help="resume: who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="resume: repeating it repeats the answer, not the act"
    )


def run(invocation: Invocation) -> int:
    """List, show or resume sessions.

    Raises:
        UsageError: the words do not fit together.
        NotFound: the session does not exist.
        IllegalMove: it is not paused.
    """
    options = invocation.options(SessionsOptions)
    _check(options)
    match options.action:
        case "show":
            return _show(invocation, options.id or "")
        case "resume":
            return _resume(invocation, options)
        case _:
            return _list(invocation, options)


def _check(options: SessionsOptions) -> None:
    subject = "supervisor sessions"
    if options.action not in _ACTIONS:
        fix = did_you_mean(options.action, _ACTIONS) or f"there is: {', '.join(_ACTIONS)}"
        raise UsageError(subject=f"{subject} {options.action}", what="is not known", fix=fix)
    if (options.id is None) != (options.action == "list"):
        what = "takes no ID" if options.action == "list" else "needs the session's ID"
        fix = "`supervisor sessions` lists them; `sessions show ID` shows one"
        raise UsageError(subject=f"{subject} {options.action}", what=what, fix=fix)


def _list(invocation: Invocation, options: SessionsOptions) -> int:
    rows = read_store(invocation.load(), _page, options.worker, options.limit + 1)
    is_complete, shown = len(rows) <= options.limit, rows[: options.limit]
    summaries = [summary_of_session(session) for session in shown]
    if invocation.is_json:
        print_json({"sessions": summaries, "is_complete": is_complete})
        return 0
    table = [
        (
            one.id,
            one.status,
            one.window_end,
            "?" if one.ticks is None else str(sum(one.ticks.values())),
            "?" if one.actions is None else str(one.actions),
            "?" if one.cost_usd is None else f"{one.cost_usd:.6f}",
        )
        for one in summaries
    ]
    print_table(("SESSION", "STATUS", "UNTIL", "TICKS>", "ACTIONS>", "COST USD>"), table)
    if not is_complete:
        print_warning(f"these are the newest {options.limit}; --limit N shows more")
    return 0


def _page(tx: Transaction, worker: str | None, rows_max: int) -> list[SessionWithTotals]:
    return tx.rows("sessions.page", SessionWithTotals, worker=worker, rows_max=rows_max)


def _show(invocation: Invocation, session_id: str) -> int:
    session = read_store(invocation.load(), _found, session_id)
    facts = _facts(session)
    if invocation.is_json:
        print_json(facts)
        return 0
    for name, value in facts.items():
        print_wrapped(f"{name.replace('_', ' '):<16}{_shown(value)}")
    return 0


def _facts(session: SessionWithTotals) -> dict[str, object]:
    summary: dict[str, object] = msgspec.to_builtins(summary_of_session(session))
    sealed = None if session.summary is None else _decoded(session.summary)
    return {
        **summary,
        "execution_mode": session.execution_mode,
        "opened_at": moment_text(session.opened_at),
        "closed_at": moment_text(session.closed_at),
        "events": session.last_seq,
        "received_note": session.received_note,
        "handoff_note": session.handoff_note,
        "counters": _decoded(session.counters),
        "sealed": sealed,
    }


def _decoded(text: str) -> object:
    try:
        value: object = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return "(damaged: see `supervisor audit`)"
    return value


def _shown(value: object) -> str:
    if value in (None, "", {}):
        return "-"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _found(tx: Transaction, session_id: str) -> SessionWithTotals:
    session = tx.row("sessions.with_totals", SessionWithTotals, id=session_id)
    if session is None:
        fix = "`supervisor sessions` lists them"
        raise NotFound(subject=f"session {session_id}", what="does not exist", fix=fix)
    return session


def _resume(invocation: Invocation, options: SessionsOptions) -> int:
    loaded = invocation.load()
    order = ResumeCommand(session_id=options.id or "", why=options.why or _RESUMED_WHY)
    _check_exists(loaded, order.session_id)
    origin = origin_of(options)
    resumed = write_store(loaded, _resume_once, order, origin)
    if invocation.is_json:
        print_json(resumed)
    else:
        print(f"session {resumed.session_id}: {resumed.status}")
    return 0


def _check_exists(loaded: Loaded, session_id: str) -> None:
    # Before the write, which would make a store where there is none.
    read_store(loaded, _found, session_id)


def _resume_once(tx: Transaction, order: ResumeCommand, origin: Origin) -> Resumed:
    def perform() -> Resumed:
        session = resume_session(tx, _found(tx, order.session_id), origin, why=order.why)
        return Resumed(session_id=session.id, status=session.status)

    return once(tx, "resume", order, origin, result=Resumed, perform=perform)
