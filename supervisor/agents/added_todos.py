"""Finds the TODO and FIXME lines that commits added."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from supervisor.agents.bounded_split import BoundedSplit
from supervisor.agents.git import Cut, Git
from supervisor.agents.git_log import DIFF_OPTIONS

_LINE_BYTES_MAX = 4_096
_SAMPLES_MAX = 20
_START = b"\x01"
_MARK = re.compile(rb"\b(?:TODO|FIXME)\b")
_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class Todo(msgspec.Struct, frozen=True, kw_only=True):
    """One added line that asks for work later."""

    sha: str
    path: str
    line: str


class Todos(msgspec.Struct, frozen=True, kw_only=True):
    """How many such lines were added, the first 20 of them, and why the search was cut if it was.

    A cut search makes the count a lower bound.
    """

    count: int
    samples: tuple[Todo, ...]
    cut: Cut | None


class TodoParser:
    """Reads patches line by line; a hunk's header says how many lines are content.

    Counting them is what keeps an added line such as `++ b/x` from passing for a file's header.
    """

    def __init__(self) -> None:
        self.count = 0
        self.samples: list[Todo] = []
        self._lines = BoundedSplit(b"\n", token_bytes_max=_LINE_BYTES_MAX)
        self._sha = ""
        self._path = ""
        self._removed_left = 0
        self._added_left = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the patches."""
        for line in self._lines.feed(chunk):
            if self._removed_left or self._added_left:
                self._take_content(line)
            else:
                self._take_header(line)

    def _take_header(self, line: bytes) -> None:
        hunk = _HUNK.match(line)
        if hunk is not None:
            self._removed_left, self._added_left = (int(n) if n else 1 for n in hunk.groups())
        elif line.startswith(_START):
            self._sha = line[1:].decode(errors="replace")
        elif line.startswith(b"+++ "):
            name = line[4:].rstrip(b"\t").removeprefix(b'"').removesuffix(b'"')
            self._path = name.removeprefix(b"b/").decode(errors="replace")

    def _take_content(self, line: bytes) -> None:
        if line.startswith(b"-"):
            self._removed_left -= 1
        elif line.startswith(b"+"):
            self._added_left -= 1
            if _MARK.search(line):
                self._keep(line[1:])

    def _keep(self, line: bytes) -> None:
        self.count += 1
        if len(self.samples) < _SAMPLES_MAX:
            text = line.decode(errors="replace").strip()
            self.samples.append(Todo(sha=self._sha, path=self._path, line=text))


async def read_todos(git: Git, shas: Sequence[str], *, bytes_max: int) -> Todos:
    """Search the patches of exactly these commits, which must not be merges.

    Raises:
        RepositoryNotDigested: git refused.
    """
    parser = TodoParser()
    cut = None
    if shas:
        cut = await git.stream(
            "log",
            "--no-walk=unsorted",
            "--format=%x01%H",
            "--patch",
            "--unified=0",
            "--inter-hunk-context=0",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            "-G(TODO|FIXME)",
            *DIFF_OPTIONS,
            *shas,
            "--",
            sink=parser.feed,
            bytes_max=bytes_max,
        )
    return Todos(count=parser.count, samples=tuple(parser.samples), cut=cut)
