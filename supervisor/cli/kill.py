"""`supervisor kill` and `supervisor release`."""

from __future__ import annotations

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.named import check_worker
from supervisor.cli.output import plain, print_json, print_warning
from supervisor.cli.parser import Parser
from supervisor.cli.signing import origin_of
from supervisor.cli.store import read_store, store_exists, write_store
from supervisor.clock import from_us, iso
from supervisor.config import Loaded
from supervisor.errors import NotFound, StoreUnavailable, UsageError
from supervisor.events.log import Origin
from supervisor.governance import kill_switch
from supervisor.governance.kill_switch import KillCommand, Latch, Latched
from supervisor.governance.rotation import find_session
from supervisor.governance.status import known_workers
from supervisor.storage.database import Transaction


class KillOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `kill` and `release` are told."""

    system: bool
    worker: str | None
    session: str | None
    why: str | None
    actor: str | None
    command_id: str | None
    force: bool


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("--system", action="store_true", help="everything")
    parser.add_argument("--worker", metavar="NAME", help="one worker, also over its rotations")
    parser.add_argument("--session", metavar="ID", help="one session; the smallest scope")
    parser.add_argument("--why", metavar="TEXT", help="required: stands in the record")
    parser.add_argument("--actor", metavar="NAME", help="who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="repeating it repeats the answer, not the act"
    )
    parser.add_argument(
        "--force", action="store_true", help="also a worker that nobody knows (yet)"
    )
    parser.epilog = (
        "Exactly one of --system, --worker, --session. It is written into the store, so it works\n"
        "with the daemon dead too; it holds through restarts until it is released."
    )


def run(invocation: Invocation) -> int:
    """Latch or unlatch a kill.

    Raises:
        UsageError: not exactly one scope, or no reason.
        NotFound: nobody knows the worker, or the session does not exist.
        StoreUnavailable: the store does not take it; nothing was done.
    """
    options = invocation.options(KillOptions)
    order = _order(options, invocation.command)
    loaded = invocation.load_at_least_the_store()
    try:
        _check(loaded, options)
        latched, latch = _latch(loaded, options, order, command=invocation.command)
    except StoreUnavailable as error:
        if invocation.command == "kill":
            raise _with_way_out(error) from error
        raise
    if invocation.is_json:
        print_json(_as_json(latched, latch))
    else:
        print(_told(latched, latch))
    return 0


def _order(options: KillOptions, command: str) -> KillCommand:
    scopes = ["system"] if options.system else []
    if options.worker is not None:
        scopes.append(f"worker:{options.worker}")
    if options.session is not None:
        scopes.append(f"session:{options.session}")
    if len(scopes) != 1:
        what = "names no scope" if not scopes else f"names {len(scopes)} scopes"
        fix = "add exactly one of --system, --worker NAME, --session ID"
        raise UsageError(subject=f"supervisor {command}", what=what, fix=fix)
    if not (options.why or "").strip():
        fix = "say why with --why TEXT: it stands in the record"
        raise UsageError(subject=f"supervisor {command}", what="no reason is given", fix=fix)
    return KillCommand(scope=scopes[0], why=options.why or "")


def _check(loaded: Loaded, options: KillOptions) -> None:
    """Refuse what would kill nothing because of a typo, before anything is written."""
    has_store = store_exists(loaded)
    if options.session is not None and not has_store:
        fix = "`supervisor sessions` lists them, once a daemon has run"
        raise NotFound(subject=f"session {options.session}", what="does not exist", fix=fix)
    if options.session is not None:
        _warn_of_session(loaded, options.session)
    if options.worker is not None and not options.force:
        stored = read_store(loaded, known_workers) if has_store else set()
        otherwise = " (--force does it all the same)"
        check_worker(loaded, options.worker, stored, otherwise=otherwise)


def _warn_of_session(loaded: Loaded, session_id: str) -> None:
    session = read_store(loaded, find_session, session_id)
    if session is not None and session.summary is not None:
        print_warning(f"session {session_id} is {session.status}: nothing runs in it any more")


def _latch(
    loaded: Loaded, options: KillOptions, order: KillCommand, *, command: str
) -> tuple[Latched, Latch | None]:
    origin = origin_of(options)
    turn = _engage if command == "kill" else _release
    return write_store(loaded, turn, order, origin, loaded)


def _engage(
    tx: Transaction, order: KillCommand, origin: Origin, loaded: Loaded
) -> tuple[Latched, Latch | None]:
    latched = kill_switch.engage(tx, order, origin, loaded.timezone)
    return latched, _found(tx, order.scope)


def _release(
    tx: Transaction, order: KillCommand, origin: Origin, loaded: Loaded
) -> tuple[Latched, Latch | None]:
    latched = kill_switch.release(tx, order, origin, loaded.timezone)
    return latched, _found(tx, order.scope)


def _found(tx: Transaction, scope: str) -> Latch | None:
    return tx.row("governance.latch", Latch, scope=scope)


def _as_json(latched: Latched, latch: Latch | None) -> dict[str, object]:
    answer: dict[str, object] = msgspec.to_builtins(latched)
    if latch is None:
        return answer
    since = iso(from_us(latch.at))
    return {**answer, "actor": latch.actor, "why": latch.why, "since": since}


def _told(latched: Latched, latch: Latch | None) -> str:
    scope = latched.scope.replace(":", " ", 1)
    by = plain(f" by {latch.actor}: {latch.why}") if latch else ""
    if latched.is_engaged:
        flag = "--" + latched.scope.replace(":", " ", 1)
        what = "engaged" if latched.changed else "already engaged"
        fix = f"`supervisor release {flag} --why TEXT` clears it"
        return f"kill switch {scope}: {what}{by}\n  work in flight is cancelled; {fix}"
    if latched.changed:
        return f"kill switch {scope}: released{by}"
    return f"kill switch {scope}: was not engaged"


def _with_way_out(error: StoreUnavailable) -> StoreUnavailable:
    fix = f"{error.fix}; `supervisor stop` and `kill -9` work without the store"
    return type(error)(subject=error.subject, what=error.what, fix=fix)
