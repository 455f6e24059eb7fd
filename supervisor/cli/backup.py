"""`supervisor backup`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_wrapped
from supervisor.cli.parser import Parser
from supervisor.cli.store import store_file
from supervisor.clock import SystemClock, to_us
from supervisor.errors import NotFound
from supervisor.maintenance.backup import back_up


class BackupOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `backup` is told."""

    file: str
    force: bool


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("file", metavar="FILE", help="where to put it")
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.epilog = (
        "A copy of one moment, also while the daemon runs, for this user alone. It gets its name\n"
        "only once it is proved: every page whole, the schema current, the audit clean."
    )


def run(invocation: Invocation) -> int:
    """Make a backup.

    Raises:
        UsageError: the store is not a file.
        NotFound: there is no store yet.
        StoreUnavailable: the store can't be read, is damaged, or FILE can't be written.
    """
    options = invocation.options(BackupOptions)
    loaded = invocation.load_at_least_the_store()
    store = store_file(loaded, "backup", "`pg_dump --format=custom --file=FILE URL`")
    if not store.exists():
        fix = "there is nothing to back up before the first `supervisor run`"
        raise NotFound(subject=f"store {store}", what="does not exist", fix=fix)
    now_us = to_us(SystemClock().now())
    target = Path(options.file).absolute()
    done = asyncio.run(back_up(store, target, now_us=now_us, may_replace=options.force))
    if invocation.is_json:
        print_json(done)
    else:
        print_wrapped(
            f"backed up to {done.file}: {done.bytes} bytes, {done.events} events as of"
            f" {done.as_of}; every page is whole and the audit finds nothing"
        )
    return 0
