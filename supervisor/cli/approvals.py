"""`supervisor approvals`."""

from __future__ import annotations

import argparse

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_table, print_warning, print_wrapped
from supervisor.cli.parser import Parser, did_you_mean, span_s, whole_number
from supervisor.cli.signing import origin_of
from supervisor.cli.store import read_store, write_store
from supervisor.config import Loaded
from supervisor.errors import SupervisorError, UsageError
from supervisor.governance import approvals
from supervisor.governance.approvals import DecideCommand, Decided, Terms
from supervisor.governance.backlog import (
    TicketFacts,
    newest_tickets,
    one_ticket,
    pending_tickets,
)
from supervisor.governance.session_grants import Scope
from supervisor.money import limit_micro_usd

#: What a person need not see of a ticket.
_NOTHING: tuple[object, ...] = (None, "", (), {})
_ACTIONS = ("list", "show", "approve", "deny")
_ROWS = 50
_USD_MAX = 1e9


class ApprovalsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `approvals` is told; `expires` in seconds."""

    action: str
    id: str | None
    all: bool
    limit: int
    why: str | None
    actor: str | None
    command_id: str | None
    for_session: bool
    resources: str | None
    count: int | None
    cost: float | None
    expires: float | None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("action", nargs="?", default="list", metavar="list|show|approve|deny")
    parser.add_argument("id", nargs="?", metavar="ID", help="of show, approve and deny: the ticket")
    parser.add_argument("--all", action="store_true", help="list: also those that were decided")
    parser.add_argument(
        "--limit",
        type=whole_number,
        default=_ROWS,
        metavar="N",
        help=f"list: at most N; {_ROWS} if left out",
    )
    parser.add_argument("--why", metavar="TEXT", help="approve, deny: stands in the record")
    parser.add_argument("--actor", metavar="NAME", help="approve, deny: who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="repeating it repeats the answer, not the act"
    )
    _add_scope_options(parser)
    parser.epilog = (
        "`approve` lets the action be executed once. With --for-session it also allows more of\n"
        "the same by that worker until its session ends, within the limits that are given; the\n"
        "ticket's own counts among them. After its deadline nobody can decide a ticket any more."
    )


def _add_scope_options(parser: Parser) -> None:
    parser.add_argument(
        "--for-session", action="store_true", help="approve: more of the same in this session"
    )
    parser.add_argument(
        "--resources",
        metavar="PATTERNS",
        help='for the session: which, such as "issue:*,pr:7"; else the ticket\'s own alone',
    )
    parser.add_argument("--count", type=whole_number, metavar="N", help="for the session: how many")
    parser.add_argument("--cost", type=_usd, metavar="USD", help="for the session: for how much")
    parser.add_argument(
        "--expires", type=span_s, metavar="SPAN", help="for the session: how long, such as 2h"
    )


def _usd(text: str) -> float:
    try:
        usd = float(text)
    except ValueError:
        usd = -1.0
    if not 0 <= usd <= _USD_MAX:  # also refuses nan
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of USD")
    return usd


def run(invocation: Invocation) -> int:
    """List, show or decide tickets.

    Raises:
        UsageError: the words do not fit together.
        NotFound: the ticket does not exist.
        IllegalMove: it is decided, or its deadline has passed.
        KillSwitchEngaged: approve: a kill reaches its worker.
    """
    options = invocation.options(ApprovalsOptions)
    _check(options)
    match options.action:
        case "show":
            return _show(invocation, options.id or "")
        case "approve" | "deny":
            return _decide(invocation, options)
        case _:
            return _list(invocation, options)


def _check(options: ApprovalsOptions) -> None:
    subject = f"supervisor approvals {options.action}"
    if options.action not in _ACTIONS:
        fix = did_you_mean(options.action, _ACTIONS) or f"there is: {', '.join(_ACTIONS)}"
        raise UsageError(subject=subject, what="is not known", fix=fix)
    if (options.id is None) != (options.action == "list"):
        what = "takes no ID" if options.action == "list" else "needs the ticket's ID"
        fix = "`supervisor approvals` lists them; `approvals show ID` shows one"
        raise UsageError(subject=subject, what=what, fix=fix)
    limits = (options.resources, options.count, options.cost, options.expires)
    has_scope = any(limit is not None for limit in limits)
    if has_scope and not options.for_session:
        fix = "add --for-session, or leave --resources, --count, --cost and --expires out"
        raise UsageError(subject=subject, what="has limits of no session", fix=fix)
    if options.for_session and options.action != "approve":
        fix = "--for-session belongs to approve"
        raise UsageError(subject=subject, what="allows nothing", fix=fix)


def _list(invocation: Invocation, options: ApprovalsOptions) -> int:
    read = newest_tickets if options.all else pending_tickets
    rows = read_store(invocation.load(), read, options.limit + 1)
    is_complete, shown = len(rows) <= options.limit, rows[: options.limit]
    if invocation.is_json:
        print_json({"approvals": shown, "is_complete": is_complete})
        return 0
    if not shown:
        print("no ticket waits for a person" if not options.all else "there are no tickets")
        return 0
    table = [
        (
            one.id,
            "draft" if one.is_draft and one.status == "pending" else one.status,
            one.worker,
            one.action,
            one.resource or "-",
            one.risk,
            f"{one.cost_usd:.6f}",
            one.deadline_at,
        )
        for one in shown
    ]
    titles = ("TICKET", "STATUS", "WORKER", "ACTION", "RESOURCE", "RISK", "COST USD>", "UNTIL")
    print_table(titles, table)
    if not is_complete:
        print_warning(f"these are {options.limit} of more; --limit N shows more")
    return 0


def _show(invocation: Invocation, ticket_id: str) -> int:
    facts: TicketFacts = read_store(invocation.load(), one_ticket, ticket_id)
    if invocation.is_json:
        print_json(facts)
        return 0
    for name, value in msgspec.structs.asdict(facts).items():
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        print_wrapped(f"{name.replace('_', ' '):<18}{'-' if value in _NOTHING else shown}")
    return 0


def _decide(invocation: Invocation, options: ApprovalsOptions) -> int:
    loaded = invocation.load()
    ticket = options.id or ""
    # Before the write, which would make a store where there is none.
    read_store(loaded, one_ticket, ticket)
    order = DecideCommand(ticket=ticket, why=options.why or "", for_session=_scope(options))
    origin = origin_of(options)
    decide = approvals.approve if options.action == "approve" else approvals.deny
    decided = write_store(loaded, decide, order, origin, _terms(loaded))
    if isinstance(decided, SupervisorError):
        raise decided
    if invocation.is_json:
        print_json(decided)
    else:
        print(_told(decided, options))
    return 0


def _terms(loaded: Loaded) -> Terms:
    policy = loaded.config.policy
    return Terms(timezone=loaded.timezone, approval_valid_s=policy.approval_valid_s)


def _scope(options: ApprovalsOptions) -> Scope | None:
    if not options.for_session:
        return None
    patterns = (options.resources or "").split(",")
    return Scope(
        resources=tuple(pattern.strip() for pattern in patterns if pattern.strip()),
        count_max=options.count,
        cost_max=None if options.cost is None else limit_micro_usd(options.cost),
        expires_s=options.expires,
    )


def _told(decided: Decided, options: ApprovalsOptions) -> str:
    what = f"{decided.action} {decided.resource}".rstrip()
    how = ""
    if decided.status == "approved":
        how = " for the session" if options.for_session else " once"
    return f"ticket {decided.ticket}: {decided.status}{how}: {what}, for worker {decided.worker}"
