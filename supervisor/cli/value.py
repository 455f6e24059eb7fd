"""`supervisor value`."""

from __future__ import annotations

from typing import Literal

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_table, print_warning
from supervisor.cli.parser import Parser, did_you_mean, whole_number
from supervisor.cli.store import read_store
from supervisor.clock import SystemClock
from supervisor.errors import UsageError
from supervisor.governance.event_reading import ahead_text, damaged_text
from supervisor.governance.value import Value, Values, WantedValues, read_values
from supervisor.governance.worth import MICRO_PER_HOUR
from supervisor.money import usd_text

EXIT_DAMAGED = 1
_PERIODS = 3
_PERIODS_MAX = 10_000
_BY = ("worker", "session", "day", "week", "month")


class ValueOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `value` is told."""

    by: Literal["worker", "session", "day", "week", "month"]
    worker: str | None
    last: int


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument(
        "--by", choices=_BY, default="month", help="what a line is of each worker; month"
    )
    parser.add_argument("--worker", metavar="NAME", help="of one worker")
    parser.add_argument(
        "--last",
        type=whole_number,
        default=_PERIODS,
        metavar="N",
        help=f"the newest N periods or sessions; {_PERIODS}",
    )
    parser.epilog = (
        "value = hours saved x rate - cost. A worker says what it saves with ctx.saved(HOURS), or\n"
        "the config does for each tick that ends ok: [worker.NAME] hours_saved. The rate is\n"
        "[value] rate_usd_per_hour, or the worker's own, as it was when the tick ended. The cost\n"
        "is that of its calls, forfeits in full. All is summed up from the events."
    )


def run(invocation: Invocation) -> int:
    """Print what the workers were worth.

    Raises:
        UsageError: there is no such worker, or that is too many periods.
    """
    options = invocation.options(ValueOptions)
    loaded = invocation.load()
    known = list(loaded.config.worker)
    if options.last > _PERIODS_MAX:
        fix = f"give 1 to {_PERIODS_MAX}"
        raise UsageError(subject=f"--last {options.last}", what="is too many periods", fix=fix)
    if options.worker is not None and options.worker not in known:
        fix = did_you_mean(options.worker, known) or f"there is: {', '.join(known)}"
        what = "is no worker of the config"
        raise UsageError(subject=f"--worker {options.worker}", what=what, fix=fix)
    wanted = WantedValues(
        by=options.by,
        periods_max=options.last,
        worker=options.worker,
        timezone=loaded.timezone,
    )
    values = read_store(loaded, read_values, wanted, SystemClock().now())
    if invocation.is_json:
        print_json(values)
    else:
        _print(values, options)
    return EXIT_DAMAGED if values.damaged_total else 0


def _print(values: Values, options: ValueOptions) -> None:
    if not values.values:
        span = "" if options.by == "worker" else f" in the newest {options.last} {options.by}s"
        print(f"nothing spent and nothing saved{span}")
    else:
        _print_table(values)
    if not values.is_complete:
        print(f"the newest {options.last}; --last N shows more")
    if values.events_ahead:
        print_warning(ahead_text(values.events_ahead))
    if values.total.unrated_micro_hours:
        hours = values.total.unrated_micro_hours / MICRO_PER_HOUR
        print_warning(
            f"{hours:g} hours were saved while nobody had said what an hour is worth: set"
            " [value] rate_usd_per_hour for those to come"
        )
    for damaged in values.damaged:
        print_warning(damaged_text(damaged))
    if values.damaged_total:
        print_warning(
            f"{values.damaged_total} events can't be read and are not counted;"
            " `supervisor audit` tells more"
        )


def _print_table(values: Values) -> None:
    titles = ("WORKER", "HOURS SAVED>", "WORTH USD>", "COST USD>", "VALUE USD>")
    rows = [(value.worker or "(pruned)", *_amounts(value)) for value in values.values]
    rows.append(("total", *_amounts(values.total)))
    if values.by == "worker":
        print_table(titles, rows)
        return
    keys = [*(value.key for value in values.values), ""]
    print_table((values.by.upper(), *titles), [(k, *r) for k, r in zip(keys, rows, strict=True)])


def _amounts(value: Value) -> tuple[str, ...]:
    money = (value.worth_micro_usd, value.cost_micro_usd, value.value_micro_usd)
    return (f"{value.hours_saved:g}", *(usd_text(one).removesuffix(" USD") for one in money))
