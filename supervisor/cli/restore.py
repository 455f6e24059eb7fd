"""`supervisor restore`."""

from __future__ import annotations

import argparse
import asyncio
import math
from pathlib import Path

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_wrapped
from supervisor.cli.parser import Parser
from supervisor.cli.store import locked, store_file, write_store
from supervisor.clock import SystemClock
from supervisor.config import Loaded, person
from supervisor.errors import NotFound, UsageError
from supervisor.events.log import Origin
from supervisor.governance.restoring import RestoreCommand, Restored
from supervisor.ids import RandomIds
from supervisor.ledger.gaps import Spent
from supervisor.maintenance.heartbeat import HEARTBEAT_NAME
from supervisor.maintenance.restore import RestoreOrder, restore, restored_in_place
from supervisor.money import micro_usd

_COUNT_MAX = 10**15


class RestoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `restore` is told; an amount that is None is not known."""

    file: str | None
    in_place: bool
    why: str | None
    spent_usd: float | None
    spent_tokens: int | None
    spent_actions: int | None
    actor: str | None
    command_id: str | None

    @property
    def spent(self) -> Spent:
        cost = None if self.spent_usd is None else micro_usd(self.spent_usd)
        return Spent(cost=cost, tokens=self.spent_tokens, actions=self.spent_actions)


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="a backup; it is left as it is")
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="a backup was put in the store's place already, by hand or by pg_restore",
    )
    parser.add_argument("--why", metavar="TEXT", help="required: stands in the record")
    since = "spent since the backup, where the present store can't say it"
    parser.add_argument("--spent-usd", type=_usd, metavar="USD", help=f"USD {since}")
    parser.add_argument("--spent-tokens", type=_count, metavar="N", help=f"tokens {since}")
    parser.add_argument("--spent-actions", type=_count, metavar="N", help=f"actions {since}")
    parser.add_argument("--actor", metavar="NAME", help="who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="repeating it repeats the answer, not the act"
    )
    parser.epilog = (
        "Only while no daemon runs. The store that is there is kept beside. Where it can be read\n"
        "and proved, all that it knows to be spent, killed or paused is taken over. Else, what\n"
        "was spent since the backup is not known: each limit whose period goes on counts as used\n"
        "up, unless --spent-* says what to add; and everything is killed until you release it."
    )


def _usd(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not (math.isfinite(amount) and 0 <= amount <= _COUNT_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount: write USD such as 1.5")
    return amount


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text[:20]) > _COUNT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def run(invocation: Invocation) -> int:
    """Put a backup back.

    Raises:
        UsageError: the words do not fit together, or the store is not a file.
        AlreadyRunning: a daemon runs.
        StoreUnavailable: the backup is not sound, or a file can't be used; nothing was changed.
    """
    options = invocation.options(RestoreOptions)
    _check(options)
    loaded = invocation.load_at_least_the_store()
    origin = Origin(
        at=SystemClock().now(),
        actor=options.actor or person(),
        command_id=options.command_id or RandomIds().new("restore"),
    )
    with locked(loaded):
        restored = _put_back(loaded, options, origin)
        # It tells of a life that this store does not know, as of a store that lost commits.
        (loaded.state_dir / HEARTBEAT_NAME).unlink(missing_ok=True)
    if invocation.is_json:
        print_json(restored)
    else:
        _tell(restored, options)
    return 0


def _check(options: RestoreOptions) -> None:
    if (options.file is None) != options.in_place:
        what = "names no file" if options.file is None else "names a file and --in-place"
        fix = "name a backup, or --in-place for a store that was put back by other means"
        raise UsageError(subject="supervisor restore", what=what, fix=fix)
    if not (options.why or "").strip():
        fix = "say why with --why TEXT: it stands in the record"
        raise UsageError(subject="supervisor restore", what="no reason is given", fix=fix)


def _put_back(loaded: Loaded, options: RestoreOptions, origin: Origin) -> Restored:
    why = " ".join((options.why or "").split())
    if options.file is None:
        command = RestoreCommand(backup_sha256="", why=why, spent=options.spent)
        return write_store(loaded, restored_in_place, command, origin, loaded.timezone)
    instead = "`pg_restore --dbname=URL FILE`, then `supervisor restore --in-place --why TEXT`"
    store = store_file(loaded, "restore", instead)
    backup = Path(options.file).absolute()
    if not backup.exists():
        raise NotFound(subject=f"file {backup}", what="does not exist", fix="name a backup")
    order = RestoreOrder(
        backup=backup,
        store=store,
        why=why,
        spent=options.spent,
        heartbeat=loaded.state_dir / HEARTBEAT_NAME,
    )
    return asyncio.run(restore(order, origin=origin, timezone=loaded.timezone))


def _tell(restored: Restored, options: RestoreOptions) -> None:
    what = f"{options.file} is the store now" if options.file else "the store counts as put back"
    print_wrapped(f"restored: {what}; the last thing that it knows is of {restored.backup_at}")
    if restored.kept_as:
        print_wrapped(f"  the store that was there is kept as {restored.kept_as}")
    if restored.is_known:
        print_wrapped(
            "  it could be read and proved: what it knew to be spent, killed or paused is taken"
            f" over; accounts that were raised: {len(restored.carried)}"
        )
    else:
        print_wrapped(f"  what was spent since then is not known: {_feared(options.spent)}")
    for account in restored.carried:
        print(f"    {account}")
    if restored.approvals or restored.grants:
        print_wrapped(
            "  what was approved and not executed in the backup may have been since, and is"
            f" not executed now: {restored.approvals} proposals, {restored.grants} session grants"
        )
    if restored.tickets:
        print_wrapped(
            "  what waited for a decision in the backup may have been approved since, and is"
            f" denied: {restored.tickets} tickets"
        )
    for scope in restored.latched:
        flag = "--" + scope.replace(":", " ", 1)
        print_wrapped(f"  killed: {scope}; `supervisor release {flag} --why TEXT` clears it")


def _feared(spent: Spent) -> str:
    amounts = {"USD": spent.cost, "tokens": spent.tokens, "actions": spent.actions}
    unknown = [name for name, amount in amounts.items() if amount is None]
    if not unknown:
        return "what you said is added on every limit whose period goes on"
    listed = ", ".join(unknown)
    return f"every limit in {listed} counts as used up until its period ends"
