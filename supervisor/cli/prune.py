"""`supervisor prune`."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec

from supervisor.assembly import build_retention
from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_table, print_wrapped
from supervisor.cli.parser import Parser, whole_number
from supervisor.cli.store import opened, read_store
from supervisor.clock import SystemClock, to_us
from supervisor.config import Loaded, person
from supervisor.errors import UsageError
from supervisor.governance.retention import Batch, choose_batch
from supervisor.governance.status import moment_text
from supervisor.governance.sums import Export
from supervisor.maintenance.retention import Retained, retain
from supervisor.storage.database import Transaction

_ROWS = 50
_ALL_DAYS = 1_000_000


class PruneOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `prune` is told."""

    action: str
    keep_days: int | None
    dry_run: bool


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("action", nargs="?", default="now", metavar="now|list")
    parser.add_argument(
        "--keep-days", type=whole_number, metavar="N", help="instead of [retention] keep_days"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would go, and change nothing"
    )
    parser.epilog = (
        "What the daemon does every hour by itself: windows that are over for longer than\n"
        "keep_days are written to a file, proved, and only then deleted. `list` shows the files;\n"
        "`supervisor audit --export FILE` replays and audits one."
    )


def run(invocation: Invocation) -> int:
    """Export and prune what is old enough, beside a daemon or without one.

    Raises:
        UsageError: what is to be done is not known.
        ExportRefused: what is to go does not pass the audit; nothing of it was pruned.
        StoreUnavailable: the store or the file can't be used; what was exported stays so.
    """
    options = invocation.options(PruneOptions)
    loaded = invocation.load()
    match options.action:
        case "list":
            _list(invocation, read_store(loaded, _exports))
        case "now" if options.dry_run:
            _tell(invocation, _would_go(loaded, options))
        case "now":
            _report(invocation, asyncio.run(_prune(loaded, options)))
        case _:
            raise UsageError(
                subject=f"prune {options.action}",
                what="is not known",
                fix="leave the word out to prune now, or use `list`",
            )
    return 0


def _exports(tx: Transaction) -> list[Export]:
    return tx.rows("retention.exports", Export, rows_max=_ROWS)


def _would_go(loaded: Loaded, options: PruneOptions) -> Batch | None:
    keep_days = (
        loaded.config.retention.keep_days if options.keep_days is None else options.keep_days
    )
    if not keep_days:
        return None
    cut_us = to_us(SystemClock().now() - timedelta(days=keep_days))
    return read_store(loaded, choose_batch, cut_us=cut_us, days_max=_ALL_DAYS)


async def _prune(loaded: Loaded, options: PruneOptions) -> Retained:
    plan = build_retention(loaded)
    if options.keep_days is not None:
        plan = msgspec.structs.replace(plan, keep_days=options.keep_days)
    async with opened(loaded, is_read_only=False) as database:
        return await retain(database, plan, clock=SystemClock(), actor=person())


def _list(invocation: Invocation, exports: list[Export]) -> None:
    if invocation.is_json:
        print_json(exports)
        return
    titles = ("NUMBER", "EXPORTED", "SESSIONS", "EVENTS", "BYTES", "FILE")
    print_table(
        titles,
        [
            (
                str(one.number),
                moment_text(one.exported_at) or "",
                str(one.sessions),
                str(one.events),
                str(one.bytes),
                one.file,
            )
            for one in exports
        ],
    )


def _tell(invocation: Invocation, batch: Batch | None) -> None:
    sessions = () if batch is None else batch.sessions
    held_back = () if batch is None else batch.held_back
    if invocation.is_json:
        print_json({"sessions": list(sessions), "held_back": list(held_back)})
        return
    print_wrapped(f"would export and prune {len(sessions)} closed sessions")
    _tell_held_back(held_back)


def _report(invocation: Invocation, done: Retained) -> None:
    if invocation.is_json:
        print_json(done)
        return
    for export in done.exports:
        print_wrapped(
            f"export {export.number}: {export.sessions} sessions, {export.events} events in"
            f" {export.file}, {export.bytes} bytes"
        )
    print_wrapped(
        f"pruned {done.pruned.sessions} sessions, {done.pruned.events} events,"
        f" {done.pruned.others} other rows"
    )
    _tell_held_back(done.held_back)


def _tell_held_back(workers: tuple[str, ...]) -> None:
    if workers:
        print_wrapped(
            f"older windows stay of: {', '.join(workers)}; they are open or paused, or have an"
            " open hold, a pending ticket or a live kill: `supervisor sessions --worker NAME`"
        )
