"""`supervisor checkpoints` and `supervisor rollback`."""

from __future__ import annotations

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.named import check_filter
from supervisor.cli.output import print_json, print_table
from supervisor.cli.parser import Parser
from supervisor.cli.signing import origin_of
from supervisor.cli.store import read_store, write_store
from supervisor.clock import from_us, iso
from supervisor.errors import IllegalMove, UsageError
from supervisor.governance.rollback import (
    RollbackCommand,
    checkpoints_of,
    record_failure,
    roll_back,
)

_ROWS = 50


class RollbackOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `checkpoints` and `rollback` are told."""

    worker: str
    checkpoint: str | None
    actor: str | None
    command_id: str | None


def add_options(parser: Parser) -> None:
    """Tell the parser the commands' options."""
    parser.add_argument("worker", metavar="WORKER", help="the worker's name")
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="rollback: its id")
    parser.add_argument("--actor", metavar="NAME", help="rollback: who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="rollback: repeating it repeats the answer, not the act"
    )
    parser.epilog = (
        "`rollback` puts ctx.state back to what it was at the checkpoint and pauses the worker's\n"
        "session until `sessions resume ID`. It touches no balance and no event."
    )


def run(invocation: Invocation) -> int:
    """List a worker's checkpoints, or roll it back to one.

    Raises:
        UsageError: the words do not fit together.
        NotFound: there is no such worker, or it has no such checkpoint.
        IllegalMove: a tick of the worker is running.
    """
    options = invocation.options(RollbackOptions)
    is_rollback = invocation.command == "rollback"
    if is_rollback == (options.checkpoint is None):
        what = "needs the checkpoint's id" if is_rollback else "takes a worker's name alone"
        fix = f"`supervisor checkpoints {options.worker}` lists them"
        raise UsageError(subject=f"supervisor {invocation.command}", what=what, fix=fix)
    return _roll_back(invocation, options) if is_rollback else _list(invocation, options)


def _list(invocation: Invocation, options: RollbackOptions) -> int:
    loaded = invocation.load()
    found = read_store(loaded, checkpoints_of, options.worker, _ROWS)
    if not found:
        read_store(loaded, check_filter, loaded, worker=options.worker)
    if invocation.is_json:
        keys = ("id", "label", "tick", "session_id", "event_seq")
        shown = [
            {**{key: getattr(one, key) for key in keys}, "created_at": iso(from_us(one.created_at))}
            for one in found
        ]
        print_json({"checkpoints": shown})
    else:
        rows = [
            (one.id, one.label, str(one.tick), iso(from_us(one.created_at)), one.session_id)
            for one in found
        ]
        print_table(("CHECKPOINT", "LABEL", "TICK>", "CREATED AT", "SESSION"), rows)
    return 0


def _roll_back(invocation: Invocation, options: RollbackOptions) -> int:
    loaded = invocation.load()
    origin = origin_of(options)
    order = RollbackCommand(worker=options.worker, checkpoint=options.checkpoint or "")
    try:
        done = write_store(loaded, roll_back, order, origin, loaded.timezone)
    except IllegalMove as error:
        write_store(loaded, record_failure, order, origin, loaded.timezone, error.what)
        raise
    if invocation.is_json:
        print_json(msgspec.to_builtins(done))
        return 0
    print(f"worker {done.worker}: state of {done.checkpoint} restored, {done.state_bytes} bytes")
    if done.paused is not None:
        print(f"  it waits for `supervisor sessions resume {done.paused}`")
    else:
        print(f"  it waits for `supervisor release --worker {done.worker} --why TEXT`")
    return 0
