"""`supervisor report`."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from supervisor.alerts.morning import Morning, read_morning, render
from supervisor.assembly import build_budgets
from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json
from supervisor.cli.parser import Parser, span_s
from supervisor.cli.store import read_store
from supervisor.clock import SystemClock

_EXIT_NOT_WELL = 1
_SINCE_S = 86_400.0


class ReportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `report` is told; `since` in seconds."""

    since: float


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument(
        "--since", type=span_s, default=_SINCE_S, metavar="SPAN", help="such as 12h; 1d"
    )
    parser.epilog = (
        "Markdown: what waits for you, what failed, what ran, its cost and its worth. All is\n"
        "counted from the events. Exit code 1 where something failed, died or can't be read.\n"
        "`[report] at` lets the daemon write it each morning and send it to the channels."
    )


def run(invocation: Invocation) -> int:
    """Print the report of the last hours."""
    options = invocation.options(ReportOptions)
    loaded = invocation.load()
    now = SystemClock().now()
    since = now - timedelta(seconds=options.since)
    morning: Morning = read_store(loaded, read_morning, build_budgets(loaded), since, now)
    if invocation.is_json:
        print_json(
            {"verdict": morning.verdict, "ticks": morning.ticks, "failed": morning.failed}
            | msgspec.to_builtins(morning)
        )
    else:
        print(render(morning))
    return _EXIT_NOT_WELL if morning.failed or morning.deaths or morning.damaged else 0
