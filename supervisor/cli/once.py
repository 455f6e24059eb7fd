"""`supervisor once WORKER`."""

from __future__ import annotations

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.parser import Parser, did_you_mean
from supervisor.errors import NotFound


class OnceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `once` is told."""

    worker: str


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("worker", metavar="WORKER", help="a [worker.NAME] of the config")


def run(invocation: Invocation) -> int:
    """Run one tick.

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

    return run_once(loaded, worker)
