"""`supervisor events`."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import UTC, datetime, timedelta

import anyio
import msgspec

from supervisor.cli.event_pages import (
    EventFilter,
    Page,
    position_before_newest,
    print_page,
    read_page,
)
from supervisor.cli.invocation import Invocation
from supervisor.cli.named import check_filter
from supervisor.cli.output import print_warning
from supervisor.cli.parser import Parser, did_you_mean, whole_number
from supervisor.cli.store import opened
from supervisor.clock import SystemClock, to_us
from supervisor.config import Loaded
from supervisor.errors import UsageError
from supervisor.events.kinds import KINDS
from supervisor.governance.sound_rows import BEFORE_ALL
from supervisor.storage.database import Database

EXIT_DAMAGED = 1
_POLL_S = 0.5
_FOLLOWED_ROWS = 10
_SPAN = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhdw])")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class EventsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `events` is told."""

    session: str | None
    worker: str | None
    kind: str | None
    since: str | None
    correlation: str | None
    limit: int | None
    follow: bool


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("--session", metavar="ID", help="of one session")
    parser.add_argument("--worker", metavar="NAME", help="of one worker's sessions; or `system`")
    parser.add_argument("--kind", metavar="KIND", help="of one kind, such as hold_settled")
    parser.add_argument("--correlation", metavar="ID", help="of one tick, such as digest#12")
    parser.add_argument("--since", metavar="WHEN", help="2h, 30m, 3d, or 2026-06-01T10:00Z")
    parser.add_argument("--limit", type=whole_number, metavar="N", help="the newest N only")
    parser.add_argument(
        "--follow",
        action="store_true",
        help=f"go on as they come; begins with the newest {_FOLLOWED_ROWS}, or as --since and"
        " --limit say",
    )
    parser.epilog = (
        "All that match, the oldest first; with --json one object a line. An event that can't be\n"
        "read is named and passed over, and the exit code is 1: `supervisor audit` tells more."
    )


def run(invocation: Invocation) -> int:
    """Print events until there are no more, or until interrupted.

    Raises:
        UsageError: there is no such kind, or --since is no moment.
        NotFound: there is no such worker or session, and no event of it.
    """
    options = invocation.options(EventsOptions)
    loaded = invocation.load()
    now = SystemClock().now()
    if options.kind is not None and options.kind not in KINDS:
        fix = did_you_mean(options.kind, KINDS) or f"there is: {', '.join(sorted(KINDS))}"
        raise UsageError(subject=f"--kind {options.kind}", what="is not a kind of event", fix=fix)
    wanted = EventFilter(
        session_id=options.session,
        worker=options.worker,
        kind=options.kind,
        correlation_id=options.correlation,
        since=None if options.since is None else to_us(_moment(options.since, now, loaded)),
    )
    return asyncio.run(_print(loaded, options, wanted, is_json=invocation.is_json))


def _moment(text: str, now: datetime, loaded: Loaded) -> datetime:
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            return now - timedelta(seconds=int(span["count"]) * _UNITS_S[span["unit"]])
        moment = datetime.fromisoformat(text)
        # A moment without an offset is one of the config's timezone, as windows and days are.
        aware = moment if moment.tzinfo else moment.replace(tzinfo=loaded.timezone)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            subject=f"--since {text}",
            what="is neither a span nor a moment",
            fix="write 2h, 30m, 3d, or 2026-06-01T10:00Z",
        ) from error


async def _print(
    loaded: Loaded, options: EventsOptions, wanted: EventFilter, *, is_json: bool
) -> int:
    damaged = 0
    async with opened(loaded, is_read_only=True) as database:
        position = await _start(database, options, wanted)
        while True:
            page: Page = await database.read(read_page, wanted, position)
            if position <= BEFORE_ALL and not page.rows and not page.damaged:
                await _check(database, loaded, options)
            print_page(page, is_json=is_json)
            sys.stdout.flush()
            position, damaged = page.last_position, damaged + len(page.damaged)
            if page.is_last and not options.follow:
                break
            if page.is_last:
                await anyio.sleep(_POLL_S)
    if damaged:
        print_warning(f"{damaged} events can't be read; `supervisor audit` tells more")
    return EXIT_DAMAGED if damaged else 0


async def _check(database: Database, loaded: Loaded, options: EventsOptions) -> None:
    asked = {"worker": options.worker, "session_id": options.session}
    await database.read(check_filter, loaded, **asked)


async def _start(database: Database, options: EventsOptions, wanted: EventFilter) -> int:
    is_all = options.limit is None and (not options.follow or options.since is not None)
    if is_all:
        return BEFORE_ALL
    rows_max = options.limit or _FOLLOWED_ROWS
    return await database.read(position_before_newest, wanted, rows_max)
