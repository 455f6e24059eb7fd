"""The command `supervisor`, and `python -m supervisor`."""

from __future__ import annotations

import sys

_EXIT_INTERRUPTED = 130


def main() -> int:
    """Carry out the command of `sys.argv` and return its exit code."""
    try:
        # Inside, so that Ctrl-C while this is imported prints no traceback either.
        from supervisor.cli.main import main as command
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    return command()


if __name__ == "__main__":
    sys.exit(main())
