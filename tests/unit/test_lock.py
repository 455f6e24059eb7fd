"""One daemon per state directory, across processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.errors import AlreadyRunning, StoreUnavailable
from supervisor.lock import LOCK_NAME, Holder, acquire, read_holder, running_holder

HOLD = """
import os, sys
from pathlib import Path
from supervisor.lock import Holder, acquire
lock = acquire(Path(sys.argv[1]))
lock.describe(Holder(pid=os.getpid(), boot_id="boot-1", started_at="2026-06-01T10:00:00Z"))
print("held", flush=True)
sys.stdin.read()
"""


ASK = """
import select, sys
from pathlib import Path
from supervisor.lock import running_holder
print("asking", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    running_holder(Path(sys.argv[1]))
"""


@contextmanager
def running(script: str, state_dir: Path, *, says: str) -> Iterator[subprocess.Popen[str]]:
    """Run another process until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout
    assert process.stdin
    try:
        assert process.stdout.readline() == f"{says}\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def holder() -> Holder:
    return Holder(pid=os.getpid(), boot_id="boot-9", started_at="2026-06-01T10:00:00Z")


def test_a_second_process_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    with running(HOLD, tmp_path, says="held") as other:
        with pytest.raises(AlreadyRunning, match=f"running on it with pid {other.pid}") as caught:
            acquire(tmp_path)
        assert str(tmp_path) in caught.value.subject
        assert f"kill {other.pid}" in caught.value.fix
        found = running_holder(tmp_path)
        assert found
        assert (found.pid, found.boot_id) == (other.pid, "boot-1")


def test_a_process_that_ended_holds_nothing(tmp_path: Path) -> None:
    with running(HOLD, tmp_path, says="held"):
        pass
    assert running_holder(tmp_path) is None
    acquire(tmp_path).release()


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with running(HOLD, tmp_path, says="held") as other:
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        assert running_holder(tmp_path) is None
        acquire(tmp_path).release()


def test_a_child_of_the_daemon_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    outliving = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        lock.release()
        acquire(tmp_path).release()
    finally:
        outliving.kill()
        outliving.wait()


def test_the_same_process_is_refused_a_second_time(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    with pytest.raises(AlreadyRunning):
        acquire(tmp_path)
    lock.release()


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    acquire(tmp_path).release()
    acquire(tmp_path).release()


def test_the_holder_is_read_from_the_file(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    lock.describe(holder())
    assert running_holder(tmp_path) == holder()
    assert read_holder(tmp_path / LOCK_NAME) == holder()
    lock.release()
    assert running_holder(tmp_path) is None


def test_a_shorter_description_replaces_a_longer_one_whole(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    lock.describe(Holder(pid=1, boot_id="b" * 500, started_at="x"))
    lock.describe(holder())
    assert running_holder(tmp_path) == holder()
    lock.release()


def test_a_holder_that_has_not_said_who_it_is_still_holds(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    found = running_holder(tmp_path)
    assert found
    assert found.pid == 0
    with pytest.raises(AlreadyRunning, match="pid unknown"):
        acquire(tmp_path)
    lock.release()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"[]", b'{"pid": "x"}'])
def test_a_lock_file_that_is_not_readable_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK_NAME).write_bytes(content)
    assert read_holder(tmp_path / LOCK_NAME) is None
    assert running_holder(tmp_path) is None


def test_a_directory_without_a_lock_file_is_held_by_nobody(tmp_path: Path) -> None:
    assert running_holder(tmp_path) is None
    assert read_holder(tmp_path / LOCK_NAME) is None


def test_the_lock_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    acquire(tmp_path).release()
    assert stat.S_IMODE((tmp_path / LOCK_NAME).stat().st_mode) == 0o600


def test_a_directory_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="can't be made: No such file"):
        acquire(tmp_path / "none")


def test_asking_who_holds_it_never_turns_a_starting_daemon_away(tmp_path: Path) -> None:
    acquire(tmp_path).release()
    refused = 0
    with running(ASK, tmp_path, says="asking"):
        for _ in range(2_000):
            try:
                acquire(tmp_path).release()
            except AlreadyRunning:
                refused += 1
    assert refused == 0
