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
from supervisor.governance import session_commands
from supervisor.governance.session import AbortReason, SessionWithTotals
from supervisor.governance.session_commands import AbortCommand, ResumeCommand
from supervisor.governance.status import moment_text, summary_of_session
from supervisor.storage.database import Transaction

_ACTIONS = ("list", "show", "resume", "abort")
_REASONS = tuple(reason.value for reason in AbortReason)
_ROWS = 50
_RESUMED_WHY = "resumed on the command line"


class SessionsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `sessions` is told."""

    action: str
    id: str | None
    worker: str | None
    limit: int
    why: str | None
    reason: str | None
    actor: str | None
    command_id: str | None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("action", nargs="?", default="list", metavar="list|show|resume|abort")
    parser.add_argument("id", nargs="?", metavar="ID", help="of show, resume and abort")
    parser.add_argument("--worker", metavar="NAME", help="list: of one worker")
    parser.add_argument(
        "--limit",
        type=whole_number,
        default=_ROWS,
        metavar="N",
        help=f"list: the newest N; {_ROWS} if left out",
    )
    parser.add_argument("--why", metavar="TEXT", help="stands in the record; abort needs it")
    parser.add_argument(
        "--reason", metavar="REASON", help=f"abort: {', '.join(_REASONS)}; the first if left out"
    )
    parser.add_argument("--actor", metavar="NAME", help="who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="repeating it repeats the answer, not the act"
    )
    parser.epilog = (
        "`abort` ends a session for good, before its window is over: its worker has none until\n"
        "the next window begins. To hold a worker until you release it, use `kill`."
    )


def run(invocation: Invocation) -> int:
    """List, show, resume or abort sessions.

    Raises:
        UsageError: the words do not fit together.
        NotFound: the session does not exist.
        IllegalMove: it is not paused, or it is over, or its tick is running.
    """
    options = invocation.options(SessionsOptions)
    _check(options)
    match options.action:
        case "show":
            return _show(invocation, options.id or "")
        case "resume":
            return _resume(invocation, options)
        case "abort":
            return _abort(invocation, options)
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
    resumed = write_store(loaded, session_commands.resume, order, origin)
    if invocation.is_json:
        print_json(resumed)
    else:
        print(f"session {resumed.session_id}: {resumed.status}")
    return 0


def _abort(invocation: Invocation, options: SessionsOptions) -> int:
    loaded = invocation.load()
    reason = _reason(options.reason or AbortReason.OPERATOR_REQUEST)
    order = AbortCommand(session_id=options.id or "", why=options.why or "", reason=reason)
    _check_exists(loaded, order.session_id)
    origin = origin_of(options)
    aborted = write_store(loaded, session_commands.abort, order, origin)
    if invocation.is_json:
        print_json(aborted)
    else:
        print(f"session {aborted.session_id}: {aborted.status}")
        print(f"  its worker gets its next one at {aborted.next_at}")
    return 0


def _reason(text: str) -> AbortReason:
    if text not in _REASONS:
        fix = did_you_mean(text, _REASONS) or f"there is: {', '.join(_REASONS)}"
        raise UsageError(subject=f"--reason {text}", what="is not known", fix=fix)
    return AbortReason(text)


def _check_exists(loaded: Loaded, session_id: str) -> None:
    # Before the write, which would make a store where there is none.
    read_store(loaded, _found, session_id)
