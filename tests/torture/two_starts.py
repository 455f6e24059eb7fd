"""Daemons that start at once in one state directory: one runs, the others say who does."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.e2e.daemon_process import Installation, installed, wait_until

_ALREADY_RUNNING = 73


def start_at_once(folder: Path, *, rounds: int, daemons: int = 2) -> None:
    """Start them together again and again, on a new store each other time.

    Raises:
        AssertionError: none ran, more than one did, or the store does not add up.
    """
    for number in range(rounds):
        with installed(folder / f"{number // 2}") as site:
            _start_at_once(site, daemons=daemons, ticks=number % 2 + 1)


def _start_at_once(site: Installation, *, daemons: int, ticks: int) -> None:
    site.configure({"worker": {"one": {"run": "agents:counts", "every_s": 3600.0}}})
    started = [site.start() for _ in range(daemons)]
    wait_until(lambda: sum(daemon.is_running for daemon in started) <= 1, what="one is left")
    winners = [daemon for daemon in started if daemon.is_running]
    assert len(winners) == 1, [daemon.said() for daemon in started]
    (winner,) = winners
    winner.wait_until_ready()
    lost = [daemon for daemon in started if daemon is not winner]
    assert [daemon.wait() for daemon in lost] == [_ALREADY_RUNNING] * len(lost)
    assert all(f"{winner.pid}" in daemon.said() for daemon in lost)
    wait_until(lambda: site.outcomes("one")[ticks - 1 :] == ["ok"], what="it ticks")
    assert winner.stop() == 0
    assert site.outcomes("one") == ["ok"] * ticks
    site.check_audit()


def main() -> int:
    """Start two daemons at once, 50 times."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.two_starts")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--daemons", type=int, default=2)
    told = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="starts-"))
    start_at_once(folder, rounds=told.rounds, daemons=told.daemons)
    sys.stdout.write(f"{told.rounds} x {told.daemons} daemons at once: one ran each time\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
