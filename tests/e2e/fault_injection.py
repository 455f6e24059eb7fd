"""Faults of the disk under a daemon, really injected, and what is then to be seen of it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.daemon_process import PATIENCE_S, Installation, RunningDaemon, wait_until
from tests.e2e.ping_receiver import PingReceiver

_BALLAST = "ballast"
_CHUNK = 4_096


class SmallDisk:
    """A file system in memory of a few megabytes, that can be filled up or made read-only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Leave no room for a single page."""
        with (self.path / _BALLAST).open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * _CHUNK)

    def empty(self) -> None:
        """Give the room back."""
        (self.path / _BALLAST).unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nothing be made, renamed or opened for writing while the block runs.

        What is open for writing stays so: no system takes that away from a process.
        """
        _mount("--bind", str(self.path), str(self.path))
        try:
            _mount("-o", "remount,bind,ro", str(self.path))
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@contextmanager
def small_disk(path: Path, *, megabytes: int = 4) -> Iterator[SmallDisk]:
    """Mount a small disk at `path` while the block runs; skip the test where that is forbidden."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        _mount("-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "none", str(path))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"only who may mount can test this: {error}")
    try:
        yield SmallDisk(path)
    finally:
        # Lazy: a daemon that a failed test left behind may still be in it.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def overwrite(path: Path, *, offset: int, data: bytes) -> None:
    """Change bytes in the middle of a file, behind the back of whoever has it open."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
        os.fsync(file.fileno())


def flip_bytes(path: Path, *, offset: int, length: int) -> None:
    """Turn every bit of a stretch over."""
    with path.open("rb") as file:
        file.seek(offset)
        found = file.read(length)
    overwrite(path, offset=offset, data=bytes(byte ^ 0xFF for byte in found))


def root_page(store: Path, table: str) -> tuple[int, int]:
    """Return the offset and the size of the page where a table begins in the database file."""
    connection = sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)
    try:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    finally:
        connection.close()
    return (page - 1) * size, size


def check_degraded(
    daemon: RunningDaemon, pings: PingReceiver, *, within_s: float = PATIENCE_S
) -> None:
    """Assert that a daemon whose store takes no writes says so wherever somebody may look."""
    wait_until(lambda: pings.last() == "/fail", what="the ping says no", within_s=within_s)
    wait_until(lambda: not daemon.is_ready(), what="/readyz says no", within_s=within_s)
    # The latches are in the store: whichever is noticed first is what the ping says.
    assert any(word in pings.failures()[-1] for word in ("the store", "the kill switch"))
    assert daemon.get("/healthz").status_code == 200
    status = daemon.get("/status")
    if status.status_code == 200:
        assert status.json()["health"] == "degraded"
        told = " ".join(problem["what"] for problem in status.json()["problems"])
        assert "the store" in told or "the kill switch" in told
    else:
        # The store can't even be read, and that is what it says.
        assert status.status_code == 503
        assert status.json()["error"]["code"] in ("store_unavailable", "store_damaged")
    failures = "supervisor_state_write_failures_total"
    wait_until(lambda: daemon.metric(failures) > 0, what="the failures are counted")
    assert "Traceback" not in daemon.said()


def check_well(site: Installation, daemon: RunningDaemon, pings: PingReceiver) -> None:
    """Assert that it came back by itself."""
    wait_until(daemon.is_ready, what="it is ready again")
    wait_until(lambda: pings.last() == "", what="the ping says that all is well")
    wait_until(lambda: site.heartbeat()["state"] == "running", what="the heartbeat says so")
    wait_until(lambda: daemon.get("/status").json()["health"] == "healthy", what="the status too")
