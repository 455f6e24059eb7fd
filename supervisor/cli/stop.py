"""`supervisor stop`."""

from __future__ import annotations

import time

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json
from supervisor.cli.parser import Parser, seconds
from supervisor.cli.store import prepare_state_dir
from supervisor.clock import SystemClock
from supervisor.config import Loaded, person
from supervisor.errors import StoreUnavailable, SupervisorError, UsageError
from supervisor.lock import Holder, running_holder
from supervisor.maintenance.stop_file import STOP_NAME, read_stop, write_stop

_WAIT_S = 40.0
_POLL_S = 0.05
_CLEAR = "`supervisor stop --clear` lets it start again"


class StillRunning(SupervisorError):
    """The daemon was asked to stop and has not ended in the time that was given."""

    code = "still_running"


class StopOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `stop` is told; spans in seconds."""

    clear: bool
    why: str | None
    actor: str | None
    wait_s: float | None


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """What `stop` did; `pid` is the daemon's that ended, None where none was running."""

    stop_requested: str | None
    pid: int | None = None
    ended_after_s: float | None = None
    changed: bool = True


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("--clear", action="store_true", help="remove the STOP file again")
    parser.add_argument("--why", metavar="TEXT", help="stands in the STOP file")
    parser.add_argument("--actor", metavar="NAME", help="who asks; else the user")
    parser.add_argument(
        "--wait-s",
        type=seconds,
        metavar="S",
        help=f"how long to wait for the daemon to end; {_WAIT_S:g} if left out, 0 does not wait",
    )
    parser.epilog = (
        f"Writes the file {STOP_NAME} into the state directory: a daemon that runs ends cleanly,\n"
        "and none starts until it is removed. Exit 1 where the daemon has not ended in time."
    )


def run(invocation: Invocation) -> int:
    """Stop the daemon, or let it start again.

    Raises:
        UsageError: --clear together with what belongs to a stop.
        StillRunning: the daemon has not ended in time.
    """
    options = invocation.options(StopOptions)
    loaded = invocation.load_at_least_the_store()
    if options.clear:
        if options.why is not None or options.wait_s is not None:
            fix = "clear first, or stop; not both"
            raise UsageError(
                subject="supervisor stop --clear", what="takes no --why and no --wait-s", fix=fix
            )
        return _clear(loaded, is_json=invocation.is_json)
    return _stop(loaded, options, is_json=invocation.is_json)


def _clear(loaded: Loaded, *, is_json: bool) -> int:
    was_there = _remove(loaded)
    if is_json:
        print_json(Stopped(stop_requested=None, changed=was_there))
    elif was_there:
        print(f"removed {STOP_NAME}: the daemon may be started again")
    else:
        print(f"there was no {STOP_NAME} file")
    return 0


def _remove(loaded: Loaded) -> bool:
    path = loaded.state_dir / STOP_NAME
    try:
        path.unlink()
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreUnavailable(
            subject=f"file {path}",
            what=f"can't be removed: {error.strerror}",
            fix="remove it as a user who may write to the state directory",
        ) from error


def _stop(loaded: Loaded, options: StopOptions, *, is_json: bool) -> int:
    prepare_state_dir(loaded)
    was_there = read_stop(loaded.state_dir) is not None
    holder = running_holder(loaded.state_dir)
    why = " ".join((options.why or "asked on the command line").split())
    actor = options.actor or person()
    write_stop(loaded.state_dir, actor=actor, why=why, at=SystemClock().now())
    if not is_json:
        print(_told(loaded, holder, was_there=was_there))
    ended_after_s = None if holder is None else _wait(loaded, options, holder)
    stopped = Stopped(
        stop_requested=read_stop(loaded.state_dir),
        pid=holder.pid if holder else None,
        ended_after_s=ended_after_s,
        changed=not was_there,
    )
    if is_json:
        print_json(stopped)
    elif ended_after_s is not None:
        print(f"stopped after {ended_after_s:.1f} s; {_CLEAR}")
    return 0


def _told(loaded: Loaded, holder: Holder | None, *, was_there: bool) -> str:
    path = loaded.state_dir / STOP_NAME
    wrote = f"{path} is there already" if was_there else f"wrote {path}"
    if holder is None:
        return f"{wrote}; no daemon is running, and none starts; {_CLEAR}"
    return f"{wrote}; the daemon with pid {holder.pid} ends now"


def _wait(loaded: Loaded, options: StopOptions, holder: Holder) -> float | None:
    """Wait for the daemon's lock to be free, and return the seconds; None if not to wait."""
    grace_s = loaded.config.supervisor.grace_s
    wait_s = max(_WAIT_S, grace_s + 10) if options.wait_s is None else options.wait_s
    if wait_s == 0:
        return None
    clock = SystemClock()
    began_s = clock.monotonic()
    while running_holder(loaded.state_dir) is not None:
        if clock.monotonic() - began_s > wait_s:
            raise StillRunning(
                subject=f"daemon with pid {holder.pid}",
                what=f"has not ended within {wait_s:g} s",
                fix=f"wait, or end it with `kill -9 {holder.pid}`: no settled cent is lost by that",
            )
        time.sleep(_POLL_S)
    return round(clock.monotonic() - began_s, 3)
