"""`supervisor run`."""

from __future__ import annotations

import gc

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.parser import Parser


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `run` is told."""

    exit_if_killed: bool


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument(
        "--exit-if-killed",
        action="store_true",
        help="exit 0 where a kill of the system is latched, instead of staying to be inspected",
    )


def run(invocation: Invocation) -> int:
    """Run the daemon until it is stopped."""
    options = invocation.options(RunOptions)
    loaded = invocation.load_with_secrets()
    from supervisor.launch import run_daemon

    code = run_daemon(loaded, exit_if_killed=options.exit_if_killed)
    # The process ends here: looking through every object once more would only make that later.
    gc.disable()
    gc.freeze()
    return code
