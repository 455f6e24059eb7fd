"""`supervisor scorecard`."""

from __future__ import annotations

from typing import Literal

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_table, print_warning, print_wrapped
from supervisor.cli.parser import Parser, did_you_mean, whole_number
from supervisor.cli.store import read_store
from supervisor.cli.totals import print_totals
from supervisor.clock import SystemClock
from supervisor.config import Loaded
from supervisor.errors import UsageError
from supervisor.governance.event_reading import ahead_text, damaged_text
from supervisor.governance.rotation import SYSTEM
from supervisor.governance.scorecard import Card, Scorecards, Wanted, read_scorecards
from supervisor.governance.trends import Trend
from supervisor.ledger.periods import Period
from supervisor.money import MICRO_PER_USD, usd_text

EXIT_DAMAGED = 1
_WINDOWS = 7
_WINDOWS_MAX = 10_000
#: A smaller part is not told to a person.
_CHANGE_MIN = 0.005
_BY = ("session", "day", "horizon")
_HORIZONS = ("hour", "day", "week", "month")


class ScorecardOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `scorecard` is told."""

    by: Literal["session", "day", "horizon"]
    horizon: Literal["hour", "day", "week", "month"] | None
    worker: str | None
    last: int


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("--by", choices=_BY, default="day", help="what a window is; day")
    parser.add_argument(
        "--horizon", choices=_HORIZONS, help="of --by horizon; else [session] horizon, else day"
    )
    parser.add_argument("--worker", metavar="NAME", help="of one worker; or `system`")
    parser.add_argument(
        "--last",
        type=whole_number,
        default=_WINDOWS,
        metavar="N",
        help=f"the newest N windows; {_WINDOWS}",
    )
    parser.epilog = (
        "A line for each window, the newest last, then that one's figures, and how its rates\n"
        "compare with those of the window before it (of a session: its worker's last one).\n"
        "All is counted from the events. One that can't be read is named and not counted, and the\n"
        "exit code is 1: `supervisor audit` tells more."
    )


def run(invocation: Invocation) -> int:
    """Print the scorecards of the newest windows.

    Raises:
        UsageError: there is no such worker, or the words do not fit together.
    """
    options = invocation.options(ScorecardOptions)
    loaded = invocation.load()
    _check(options, loaded)
    horizon = options.horizon or loaded.config.session.horizon
    wanted = Wanted(
        by=options.by,
        period=Period.DAY if options.by == "day" else Period(horizon or Period.DAY),
        windows_max=options.last,
        worker=options.worker,
        timezone=loaded.timezone,
    )
    cards = read_store(loaded, read_scorecards, wanted, SystemClock().now())
    if invocation.is_json:
        print_json(cards)
    else:
        _print(cards, options)
    if cards.events_ahead and not invocation.is_json:
        print_warning(ahead_text(cards.events_ahead))
    if cards.damaged_total and not invocation.is_json:
        for damaged in cards.damaged:
            print_warning(damaged_text(damaged))
        print_warning(
            f"{cards.damaged_total} events can't be read and are not counted;"
            " `supervisor audit` tells more"
        )
    return EXIT_DAMAGED if cards.damaged_total else 0


def _check(options: ScorecardOptions, loaded: Loaded) -> None:
    if options.horizon is not None and options.by != "horizon":
        fix = "add --by horizon"
        raise UsageError(subject=f"--horizon {options.horizon}", what="needs it", fix=fix)
    if options.last > _WINDOWS_MAX:
        fix = f"give 1 to {_WINDOWS_MAX}"
        raise UsageError(subject=f"--last {options.last}", what="is too many windows", fix=fix)
    known = [*loaded.config.worker, SYSTEM]
    if options.worker is not None and options.worker not in known:
        fix = did_you_mean(options.worker, known) or f"there is: {', '.join(known)}"
        what = "is no worker of the config"
        raise UsageError(subject=f"--worker {options.worker}", what=what, fix=fix)


def _print(cards: Scorecards, options: ScorecardOptions) -> None:
    if not cards.windows:
        print("no session yet")
        return
    titles = ("TICKS>", "BAD>", "APPROVED>", "DENIED>", "REFUSED>", "USED UP>", "RECOVERED>")
    head = (cards.horizon or cards.by).upper()
    print_table((head, *titles, "COST USD>"), [_row(card) for card in cards.windows])
    if not cards.is_complete:
        print(f"the newest {options.last}; --last N shows more")
    newest = cards.windows[-1]
    print()
    print(f"{newest.key}{'' if newest.is_over else ', until now'}")
    print_totals(newest)
    _print_trend(newest)


def _row(card: Card) -> tuple[str, ...]:
    told = card.headline()
    names = ("ticks", "bad_ticks", "approvals", "denials", "refusals")
    counts = (*names, "budget_exhaustions", "recoveries")
    cost = usd_text(card.cost_micro_usd).removesuffix(" USD")
    return (card.key, *(str(told[name]) for name in counts), cost)


def _print_trend(card: Card) -> None:
    if not card.trend:
        print("trend: nothing before it to compare with")
        return
    told = [_trend_text(name, trend) for name, trend in card.trend.items() if _moved(trend)]
    print_wrapped(f"trend, per hour against the window before: {', '.join(told) or 'unchanged'}")


def _moved(trend: Trend) -> bool:
    if trend.change is None:
        return trend.per_hour > 0
    return abs(trend.change) >= _CHANGE_MIN


def _trend_text(name: str, trend: Trend) -> str:
    in_usd = name == "cost_micro_usd"
    name = "USD" if in_usd else name.replace("_", " ")
    now, before = (
        f"{rate / MICRO_PER_USD if in_usd else rate:.3g}"
        for rate in (trend.per_hour, trend.per_hour_before)
    )
    if trend.change is None:
        return f"{name} new ({now})"
    return f"{name} {trend.change:+.0%} ({before} to {now})"
