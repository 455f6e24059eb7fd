"""One daemon per state directory."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import msgspec

from supervisor.errors import AlreadyRunning, StoreUnavailable

LOCK_NAME = "supervisor.lock"
_TRIES = 10
_TRY_EVERY_S = 0.02


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a state directory, as written into its lock file."""

    pid: int
    boot_id: str
    started_at: str
    listen: str = ""


class Lock:
    """The state directory's lock, held until this process ends or releases it.

    The kernel drops it with the process, however that dies, so that it is never stale.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def describe(self, holder: Holder) -> None:
        """Write down who holds the lock, for a second daemon and for `supervisor status`."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, msgspec.json.encode(holder), 0)

    def release(self) -> None:
        """Give the directory up."""
        os.close(self._descriptor)


def acquire(state_dir: Path) -> Lock:
    """Take the directory's lock.

    Raises:
        AlreadyRunning: another process holds it.
        StoreUnavailable: the lock file can't be made.
    """
    path = state_dir / LOCK_NAME
    try:
        # Not inherited by children: a subprocess that outlives the daemon must not keep it.
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(
            subject=f"lock {path}",
            what=f"can't be made: {error.strerror}",
            fix="make [supervisor] state_dir writable for this user",
        ) from error
    if not _take(descriptor):
        os.close(descriptor)
        holder = read_holder(path)
        pid = holder.pid if holder else "unknown"
        raise AlreadyRunning(
            subject=f"state directory {state_dir}",
            what=f"a daemon is running on it with pid {pid}",
            fix=f"use that one, or stop it first with `supervisor stop` or `kill {pid}`",
        )
    return Lock(descriptor)


def _take(descriptor: int) -> bool:
    """Take the lock, and try again for a moment: `running_holder` takes it to look, too."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_TRY_EVERY_S)
        else:
            return True
    return False


def running_holder(state_dir: Path) -> Holder | None:
    """Return who holds the directory now, None if nobody does."""
    path = state_dir / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_holder(path) or Holder(pid=0, boot_id="", started_at="")
    finally:
        os.close(descriptor)
    return None


def read_holder(path: Path) -> Holder | None:
    """Return what the lock file says, None if it is not readable."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None
