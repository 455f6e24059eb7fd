"""`supervisor once WORKER`."""

from __future__ import annotations

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_aside, print_json
from supervisor.cli.parser import Parser, did_you_mean
from supervisor.errors import NotFound
from supervisor.outcome import Outcome

EXIT_FAILED = 1

_BAD = frozenset({Outcome.FAILED, Outcome.TIMED_OUT, Outcome.CANCELLED, Outcome.UNKNOWN})


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How the tick ended, for programs; no outcome where none was allowed to start."""

    worker: str
    outcome: Outcome | None
    why: str


class OnceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `once` is told."""

    worker: str


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("worker", metavar="WORKER", help="a [worker.NAME] of the config")


def run(invocation: Invocation) -> int:
    """Run one tick; 0: it ended ok, had nothing to do, or a gate said no; 1: it failed.

    Raises:
        NotFound: the config has no such worker.
    """
    worker = invocation.options(OnceOptions).worker
    loaded = invocation.load_with_secrets()
    if worker not in loaded.config.worker:
        known = ", ".join(loaded.config.worker) or "none"
        raise NotFound(
            subject=f"worker {worker}",
            what="is not in the config",
            fix=did_you_mean(worker, loaded.config.worker) or f"there is: {known}",
        )
    from supervisor.launch import run_once

    end = run_once(loaded, worker)
    if end is None:
        told = Told(worker=worker, outcome=None, why="the STOP file is there")
    else:
        told = Told(worker=worker, outcome=end.outcome, why=end.why)
    if invocation.is_json:
        print_json(told)
    elif told.outcome is not None:
        why = f": {told.why}" if told.why else ""
        print_aside(f"{worker}: {told.outcome}{why}")
    return EXIT_FAILED if told.outcome in _BAD else 0
