"""`supervisor drill`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_wrapped
from supervisor.cli.parser import Parser, did_you_mean
from supervisor.cli.store import store_exists
from supervisor.clock import SystemClock
from supervisor.config import person
from supervisor.errors import NotFound, UsageError
from supervisor.governance.drills import Drill
from supervisor.ids import RandomIds
from supervisor.maintenance.drilling import Rehearsal, hold_drill

EXIT_FAILED = 1


class DrillOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `drill` is told."""

    drill: str
    backup: str | None
    actor: str | None
    command_id: str | None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("drill", metavar="|".join(Drill), help="what to rehearse")
    parser.add_argument(
        "--backup", metavar="FILE", help="restore: with this backup instead of a fresh one"
    )
    parser.add_argument("--actor", metavar="NAME", help="who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="names the drill in the record; none is used twice"
    )
    parser.epilog = (
        "kill      kills a canary of the running daemon in flight and measures how long it takes\n"
        "approvals has the daemon's sweep clear a backlog of overdue scratch tickets in its time\n"
        "restore   backs up, restores into a scratch store, audits it, compares every balance\n"
        "Exit 0 passed, 1 failed. The verdict is an event: drill_passed or drill_failed."
    )


def run(invocation: Invocation) -> int:
    """Hold a drill.

    Raises:
        UsageError: there is no such drill.
        NotFound: there is no store, or no such backup.
        IllegalMove: it can't be held now: one is under way, or no daemon runs.
        StoreUnavailable: the store can't be read or written.
    """
    options = invocation.options(DrillOptions)
    drill = _drill(options)
    loaded = invocation.load()
    if not store_exists(loaded):
        fix = "start the daemon once with `supervisor run`"
        raise NotFound(subject=f"drill {drill}", what="there is no store yet", fix=fix)
    rehearsal = Rehearsal(
        drill=drill,
        loaded=loaded,
        clock=SystemClock(),
        actor=options.actor or person(),
        id=options.command_id or RandomIds().new("drill"),
        backup=_backup(options),
    )
    verdict = asyncio.run(hold_drill(rehearsal))
    if invocation.is_json:
        print_json(verdict)
    else:
        word = "passed" if verdict.passed else "failed"
        print_wrapped(f"drill {drill}: {word}; {verdict.what}")
    return 0 if verdict.passed else EXIT_FAILED


def _drill(options: DrillOptions) -> Drill:
    if options.drill not in list(Drill):
        fix = did_you_mean(options.drill, list(map(str, Drill))) or f"there is: {', '.join(Drill)}"
        raise UsageError(subject=f"drill {options.drill!r}", what="is not known", fix=fix)
    drill = Drill(options.drill)
    if options.backup is not None and drill is not Drill.RESTORE:
        raise UsageError(
            subject=f"supervisor drill {drill}",
            what="takes no --backup",
            fix="name one with `supervisor drill restore --backup FILE`",
        )
    return drill


def _backup(options: DrillOptions) -> Path | None:
    if options.backup is None:
        return None
    path = Path(options.backup).absolute()
    if not path.exists():
        raise NotFound(subject=f"file {path}", what="does not exist", fix="name a backup")
    return path
