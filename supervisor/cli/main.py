"""The command `supervisor`."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from supervisor import __version__
from supervisor.cli.commands import COMMANDS
from supervisor.cli.invocation import Invocation
from supervisor.cli.output import mute, print_error, print_warning
from supervisor.cli.parser import Parser, did_you_mean
from supervisor.errors import (
    AlreadyRunning,
    ConfigError,
    NotFound,
    StoreDamaged,
    StoreTooNew,
    StoreUnavailable,
    SupervisorError,
    UsageError,
)

# sysexits.h, as far as it has a word for it (requirement D12).
EXIT_FAILED = 1
EXIT_USAGE = 64
EXIT_ALREADY_RUNNING = 73
EXIT_RESTART = 75
EXIT_CONFIG = 78
_EXIT_INTERRUPTED = 130
_EXIT_BROKEN_PIPE = 141

#: What a file says that takes no more; such a write names no file, other than an `open`.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

#: Where a store that fails means "start me again"; elsewhere it is a plain failure.
_DAEMON_COMMANDS = frozenset({"run", "once"})

_EPILOG = """exit codes:
  0   done; 1 failed, or audit and status found something (see their --help)
  64  usage; 73 already running; 75 restart me; 78 a person must look: config or store"""


def main(argv: list[str] | None = None) -> int:
    """Carry out one command and return the exit code; `argv` is without the program's name."""
    # Started with a closed one (`>&-`) there is nobody to tell: that is no reason to fail.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    try:
        return _answer(sys.argv[1:] if argv is None else argv)
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            mute(sys.stderr)


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _answer(words: Sequence[str]) -> int:
    command = "".join(words[_place_of_command(words) :][:1])
    try:
        code = _main_or_help(words)
        sys.stdout.flush()
        return code
    except SupervisorError as error:
        print_error(error, is_json="--json" in words)
        return exit_code(error, command)
    except BrokenPipeError:
        # Whoever read us has enough; nothing may be written to it any more, not even at exit.
        mute(sys.stdout)
        return _EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        mute(sys.stdout)
        print_warning(
            f"supervisor {command}: its output can't be written: {error.strerror}; what it did, it"
            " has done: make room where its words go, or send them elsewhere"
        )
        return EXIT_FAILED
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED


def _main_or_help(words: Sequence[str]) -> int:
    try:
        return _main(words)
    except SystemExit as ended:
        # argparse has answered --help or --version.
        return ended.code if isinstance(ended.code, int) else 0


def _main(words: Sequence[str]) -> int:
    place = _place_of_command(words)
    first = _top_parser().parse(words[:place])
    if place >= len(words):
        fix = f"say what to do: {', '.join(COMMANDS)}"
        raise UsageError(subject="supervisor", what="no command was named", fix=fix)
    name = words[place]
    entry = COMMANDS.get(name)
    if entry is None:
        fix = did_you_mean(name, COMMANDS) or f"there is: {', '.join(COMMANDS)}"
        raise UsageError(subject=f"command {name!r}", what="is not known", fix=fix)
    command = entry.load()
    parser = Parser(prog=f"supervisor {name}", about=entry.about)
    _add_global_options(parser)
    command.add_options(parser)
    options = {**first, **parser.parse(words[place + 1 :])}
    config = options.get("config")
    invocation = Invocation(
        command=name,
        config=config if isinstance(config, str) else None,
        is_json=bool(options.get("json", False)),
        words=options,
    )
    return command.run(invocation)


def _top_parser() -> Parser:
    width = max(map(len, COMMANDS))
    listed = [f"  {name.ljust(width)}  {entry.about}" for name, entry in COMMANDS.items()]
    about = "\n".join(["Keeps AI agents working with nobody watching.", "", "commands:", *listed])
    parser = Parser(prog="supervisor", about=about, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"supervisor {__version__}")
    _add_global_options(parser)
    parser.usage = "supervisor [--config FILE] [--json] COMMAND ...  (COMMAND --help tells more)"
    return parser


def _place_of_command(words: Sequence[str]) -> int:
    place = 0
    while place < len(words) and words[place].startswith("-"):
        place += 2 if words[place] == "--config" else 1
    return min(place, len(words))


def _add_global_options(parser: Parser) -> None:
    # Suppressed where absent: what stands before the command is kept if it is not said again.
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the config; else $SUPERVISOR_CONFIG, else ./config.toml",
    )
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="JSON, also of errors"
    )


def exit_code(error: SupervisorError, command: str) -> int:
    """Return the exit code of a command that ended in `error`."""
    match error:
        case ConfigError():
            return EXIT_CONFIG
        case AlreadyRunning():
            return EXIT_ALREADY_RUNNING
        case UsageError() | NotFound():
            return EXIT_USAGE
        case StoreDamaged() | StoreTooNew() if command in _DAEMON_COMMANDS:
            # Starting again mends neither: a person has to look (requirement D12).
            return EXIT_CONFIG
        case StoreUnavailable() if command in _DAEMON_COMMANDS:
            return EXIT_RESTART
        case _:
            return EXIT_FAILED
