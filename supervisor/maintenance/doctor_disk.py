"""What `supervisor doctor` finds of the disk below the state directory."""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from supervisor.maintenance.doctor_site import Finding

_MOUNTS = Path("/proc/self/mountinfo")
#: SQLite's log is shared memory, which two machines do not share (sqlite.org/wal.html, 2026-11-21).
_NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "davfs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "ncpfs"}
    | {"nfs", "nfs4", "smb3", "smbfs"}
)
_SYNCS = 5
#: A tick with a call waits for three of them, and a kill for the one that is under way.
_SYNC_MAX_S = 0.1
_INODES_MIN = 1_000
_OCTAL = re.compile(r"\\([0-7]{3})")


def examine_disk(folder: Path, *, has_file: bool) -> Iterator[Finding]:
    """Look at the disk of the state directory; `has_file` says that a SQLite store lies on it.

    One small file is written there and taken away again.
    """
    if not folder.is_dir():
        return
    area = f"disk of {folder}"
    if has_file:
        kind = filesystem_of(folder)
        if kind in _NETWORK:
            what = f"is of kind {kind}: a store on it is damaged by two machines, or by a lost link"
            fix = "put [supervisor] state_dir on a local disk, or use Postgres"
            yield Finding(area=area, what=what, fix=fix)
    found = os.statvfs(folder)
    if found.f_files and found.f_favail < _INODES_MIN:
        what = f"has room for {found.f_favail} more files, less than {_INODES_MIN}"
        yield Finding(
            area=area, what=what, fix="delete files that nobody needs: `df -i` says where"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        return
    try:
        took_s = sync_time_s(folder)
    except OSError as error:
        what = f"takes no file: {error.strerror}"
        yield Finding(area=area, what=what, fix="free some space, or mend the disk")
        return
    if took_s > _SYNC_MAX_S:
        what = f"takes {took_s * 1000:.0f} ms to keep a write, above {_SYNC_MAX_S * 1000:.0f} ms"
        fix = "find out what else writes to it (`iostat -x 1`), or take a faster one for state_dir"
        yield Finding(area=area, what=f"{what}: each tick waits for it", fix=fix)


def sync_time_s(folder: Path) -> float:
    """Return how long the disk takes to keep a small write, the median of a few.

    Raises:
        OSError: it does not take it.
    """
    took: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            began_s = time.perf_counter()
            file.write(b"x" * 512)
            file.flush()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began_s)
    return statistics.median(took)


def filesystem_of(folder: Path, mounts: Path = _MOUNTS) -> str:
    """Return the kind of file system that a folder is on, empty where the machine does not say."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    path, best, kind = folder.resolve(), Path(), ""
    for line in lines:
        # proc(5): the fifth word is the mount point; after the dash comes the kind.
        before, _, after = line.partition(" - ")
        words = before.split()
        point = Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), words[4]))
        # Of two mounts on the same point the later one covers the other.
        if path.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, after.split()[0]
    return kind
