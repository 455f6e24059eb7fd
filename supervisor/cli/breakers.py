"""`supervisor breakers`."""

from __future__ import annotations

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_table
from supervisor.cli.parser import Parser
from supervisor.cli.signing import origin_of
from supervisor.cli.store import read_store, store_exists, write_store
from supervisor.config import Loaded
from supervisor.errors import UsageError
from supervisor.governance.breaker import all_breakers
from supervisor.governance.breaker_commands import CloseBreaker, close_breaker
from supervisor.governance.status import BreakerStatus, breaker_status
from supervisor.storage.database import Transaction

TITLES = ("BREAKER", "STATE", "SINCE", "PROBE AT", "FAILURES>", "WHY")
_ACTIONS = ("list", "close")


class BreakersOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `breakers` is told."""

    action: str
    name: str | None
    why: str | None
    actor: str | None
    command_id: str | None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("action", nargs="?", default="list", metavar="ACTION", help="list, close")
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="worker:NAME, provider:NAME or system"
    )
    parser.add_argument("--why", metavar="TEXT", help="close: required; stands in the record")
    parser.add_argument("--actor", metavar="NAME", help="close: who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="close: repeating it repeats the answer, not the act"
    )
    parser.epilog = (
        "An open breaker lets one probe through by itself when its cooldown is over. `close` is\n"
        "for when you have mended the cause and don't want to wait; to keep one shut, use `kill`."
    )


def run(invocation: Invocation) -> int:
    """List the breakers, or close one.

    Raises:
        UsageError: the words do not fit together, or no reason is given.
        NotFound: there is no breaker of that name.
    """
    options = invocation.options(BreakersOptions)
    if options.action not in _ACTIONS:
        fix = "use `supervisor breakers` or `supervisor breakers close NAME --why TEXT`"
        raise UsageError(subject=f"action {options.action!r}", what="is none", fix=fix)
    loaded = invocation.load_at_least_the_store()
    if options.action == "close":
        return _close(invocation, loaded, options)
    if options.name is not None:
        fix = "`supervisor breakers` lists all of them"
        raise UsageError(subject=f"breaker {options.name}", what="is one too many", fix=fix)
    return _list(invocation, loaded)


def _list(invocation: Invocation, loaded: Loaded) -> int:
    found = read_store(loaded, _read) if store_exists(loaded) else []
    if invocation.is_json:
        print_json({"breakers": msgspec.to_builtins(found)})
    elif not found:
        print("no breaker has ever opened")
    else:
        print_table(TITLES, [breaker_row(one) for one in found])
    return 0


def _read(tx: Transaction) -> list[BreakerStatus]:
    return [breaker_status(breaker) for breaker in all_breakers(tx)]


def breaker_row(one: BreakerStatus) -> tuple[str, ...]:
    """Return a breaker's line of the table under `TITLES`."""
    state = f"{one.state}, probed by {one.probe}" if one.probe else str(one.state)
    return one.name, state, one.changed_at, one.retry_at or "-", str(one.failures), one.why


def _close(invocation: Invocation, loaded: Loaded, options: BreakersOptions) -> int:
    if options.name is None:
        fix = "`supervisor breakers` lists them"
        raise UsageError(subject="supervisor breakers close", what="names no breaker", fix=fix)
    origin = origin_of(options)
    order = CloseBreaker(name=options.name, why=options.why or "")
    done = write_store(loaded, close_breaker, order, origin, loaded.timezone)
    if invocation.is_json:
        print_json(msgspec.to_builtins(done))
    elif done.changed:
        print(f"breaker {done.name}: closed, was {done.was.replace('_', '-')}")
    else:
        print(f"breaker {done.name}: was closed already; its failures count anew")
    return 0
