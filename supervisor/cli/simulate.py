"""`supervisor simulate`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_table, print_wrapped
from supervisor.cli.parser import Parser, days, did_you_mean, whole_number
from supervisor.cli.totals import print_totals
from supervisor.config import NothingMissing, config_path, load
from supervisor.errors import UsageError
from supervisor.money import usd_text

if TYPE_CHECKING:
    from supervisor.simulation.faults import FaultKind
    from supervisor.simulation.scorecard import Failure, Scorecard

EXIT_BROKEN = 1
_DAYS = 30.0
_DAYS_MAX = 366.0
_SEED = 1


class SimulateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `simulate` is told."""

    file: str | None
    days: float
    seed: int
    seeds: int
    faults: bool
    only: str | None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument(
        "file", nargs="?", metavar="CONFIG", help="the config; else as for every other command"
    )
    parser.add_argument(
        "--days", type=days, default=_DAYS, metavar="D", help=f"virtual days; {_DAYS:g}"
    )
    parser.add_argument(
        "--seed", type=whole_number, default=_SEED, metavar="N", help=f"the first seed; {_SEED}"
    )
    parser.add_argument(
        "--seeds", type=whole_number, default=1, metavar="N", help="this many seeds; 1"
    )
    parser.add_argument(
        "--faults",
        action="store_true",
        help="crashes, outages, clock jumps, kills, a locked store; the month has a clock change",
    )
    parser.add_argument(
        "--only", metavar="KINDS", help="these faults alone, five times as often: crash,kill,..."
    )
    parser.epilog = (
        "Runs the config's schedules, windows, caps and prices through the real loop, gates,\n"
        "ledger and recovery in virtual time. Scripts stand in for its workers and providers:\n"
        "nothing is called, nothing is spent, its state directory is not touched. Invariants are\n"
        "checked at every commit. Exit 0, or 1 with the seed that broke one, which repeats it."
    )


def run(invocation: Invocation) -> int:
    """Simulate, print what it came to, and name the seed that broke an invariant.

    Raises:
        ConfigError: the config can't be used.
        UsageError: there is no worker to simulate, too many days, or no such fault.
    """
    options = invocation.options(SimulateOptions)
    path = config_path(options.file) if options.file else invocation.path
    _check(path, options)
    from supervisor.simulation.runs import simulate_seeds
    from supervisor.simulation.world import Settings

    only = _kinds(options.only)
    has_faults = options.faults or bool(only)
    settings = Settings(seed=options.seed, days=options.days, has_faults=has_faults, only=only)
    seeds = range(options.seed, options.seed + options.seeds)
    cards: list[Scorecard] = []
    for card in simulate_seeds(path, settings, seeds):
        cards.append(card)
        if invocation.is_json:
            print_json(card)
        elif options.seeds == 1:
            _print_card(card)
        else:
            _print_line(card)
    broken = [card for card in cards if card.failure is not None]
    if not invocation.is_json:
        _print_verdict(cards, broken, path, options.only)
    return EXIT_BROKEN if broken else 0


def _check(path: Path, options: SimulateOptions) -> None:
    loaded = load(path, NothingMissing())
    if not loaded.config.worker:
        raise UsageError(
            subject=f"config {path}",
            what="has no worker to simulate",
            fix="add a [worker.NAME]",
        )
    if not 0 < options.days <= _DAYS_MAX:
        raise UsageError(
            subject=f"--days {options.days:g}",
            what="is no span to simulate",
            fix=f"give more than 0, at most {_DAYS_MAX:g}",
        )


def _kinds(text: str | None) -> tuple[FaultKind, ...]:
    from supervisor.simulation.faults import FaultKind

    known = [kind.value for kind in FaultKind if kind is not FaultKind.VISIT]
    names = text.split(",") if text else []
    for name in names:
        if name not in known:
            raise UsageError(
                subject=f"--only {name}",
                what="is no fault",
                fix=did_you_mean(name, known) or f"there is: {', '.join(known)}",
            )
    return tuple(FaultKind(name) for name in names)


def _print_card(card: Scorecard) -> None:
    print(f"{card.days:g} days from {card.began_at} to {card.ended_at}, seed {card.seed}")
    for note in card.notes:
        print_wrapped(f"note: {note}")
    print_totals(card)
    faults = ", ".join(f"{count} {name}" for name, count in card.faults.items())
    print_wrapped(f"faults: {faults or 'none'}")
    rows = [
        (day.day, *map(usd_text, (day.settled, day.billed, day.limit, day.overrun, day.slack)))
        for day in card.spend
    ]
    if rows:
        print_table(("DAY", "LEDGER>", "BILLED>", "CAP>", "OVERRUN>", "PROVIDER'S FAULT>"), rows)


def _print_line(card: Scorecard) -> None:
    verdict = "ok" if card.failure is None else f"BROKEN: {card.failure.rule}"
    ticks, faults = sum(card.ticks.values()), sum(card.faults.values())
    print(
        f"seed {card.seed}: {ticks} ticks, {card.lives} lives, {faults} faults,"
        f" {card.checks_total} checks, {card.wall_s:.1f} s: {verdict}",
        flush=True,
    )


def _print_verdict(
    cards: Sequence[Scorecard], broken: Sequence[Scorecard], path: Path, only: str | None
) -> None:
    for card in broken:
        if card.failure is not None:
            _print_failure(card, card.failure, path, only)
    checks = sum(card.checks_total for card in cards)
    audits = sum(card.audits for card in cards)
    span_s = sum(card.wall_s for card in cards)
    print_wrapped(
        f"simulate: {'sound' if not broken else f'{len(broken)} of {len(cards)} seeds broken'};"
        f" {checks} checks, {audits} audits, {sum(card.events for card in cards)} events,"
        f" {span_s:.1f} s of work"
    )


def _print_failure(card: Scorecard, failure: Failure, path: Path, only: str | None) -> None:
    print_wrapped(f"seed {card.seed} broke: {failure.rule}")
    print_wrapped(f"  at {failure.at}, day {failure.day:g}: {failure.detail}")
    words = ["supervisor", "simulate", str(path), "--days", f"{card.days:g}"]
    faults = ["--only", only] if only else ["--faults"]
    words += ["--seed", str(card.seed), *(faults if card.has_faults else [])]
    print(f"  again: {shlex.join(words)}")
