"""What was done outside, told by a file that no store knows of: a line for each thing, at once."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

#: A job's code began, did its effect outside, or came to its end.
What: TypeAlias = Literal["run", "effect", "end"]


class Seen(NamedTuple):
    """A line: a job's code began, did its outside effect, or came to its end; `at` as time.time."""

    at: float
    pid: int
    what: str
    job: str
    token: int
    attempt: int


class Witness:
    """Writes lines, from any number of processes, and reads those of all of them.

    A line is one write at the file's end, so that it is there whole as soon as it is written: what
    happens to the process afterwards takes nothing of it back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def tell(self, what: What, job: str, *, token: int, attempt: int) -> None:
        """Say that something was done now."""
        line = f"{time.time():.6f} {os.getpid()} {what} {job} {token} {attempt}\n".encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            written = os.write(descriptor, line)
        finally:
            os.close(descriptor)
        assert written == len(line), f"{written} of {len(line)} bytes were written"

    def seen(self) -> Sequence[Seen]:
        """Return every line in order; nothing where there is no file yet."""
        if not self._path.exists():
            return []
        return [_parsed(line) for line in self._path.read_text(encoding="ascii").splitlines()]

    def counted(self, what: What) -> Counter[str]:
        """Return how often it was seen of each job."""
        return Counter(line.job for line in self.seen() if line.what == what)

    def first_run(self, pid: int, since: float) -> float | None:
        """Return when a process ran its first job, None where it ran none."""
        runs = (one.at for one in self.seen() if one.pid == pid and one.what == "run")
        return next((at for at in runs if at >= since), None)


def _parsed(line: str) -> Seen:
    at, pid, what, job, token, attempt = line.split(" ")
    return Seen(float(at), int(pid), what, job, int(token), int(attempt))
