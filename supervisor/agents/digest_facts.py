"""Counts what commits changed."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from supervisor.agents.git_log import Commit, FileChange

#: A vendored tree can bring more paths than are worth the memory: later ones share one row.
_ROWS_MAX = 20_000
_OVERFLOW = "(further paths)"
_TOP_LEVEL = "(top level)"
_TOP_MAX = 10
_KIND = re.compile(
    r"(build|chore|ci|docs|feat|fix|perf|refactor|revert|style|test)(\([^)]*\))?!?: ", re.IGNORECASE
)
_TEST_DIRECTORIES = frozenset({"test", "tests", "spec", "specs", "__tests__", "testing", "e2e"})
_TEST_NAME = re.compile(
    r"test_.*|conftest\.py|.*[._-](test|tests|spec)\.[^.]+|.*(Test|Tests|Spec)\.[^.]+"
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An author, area or file: how many commits touched it, with how many lines."""

    name: str
    commits_count: int
    lines_added: int
    lines_deleted: int


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One commit as the report lists it."""

    sha: str
    author: str
    text: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of commits changed; each tuple of rows is its ten largest, of `..._count`.

    Where `is_partial`, there were more files than are kept: the lines are still all of them, but
    areas, files, tests and binaries are lower bounds.
    `groups` has every commit once, under its kind: the prefix of a conventional commit, `merge`,
    or the area that it touched most.
    """

    is_partial: bool
    commits_count: int
    merges_count: int
    oldest_at_s: int
    newest_at_s: int
    lines_added: int
    lines_deleted: int
    binaries_count: int
    authors: tuple[Row, ...]
    authors_count: int
    areas: tuple[Row, ...]
    areas_count: int
    files: tuple[Row, ...]
    files_count: int
    test_files_count: int
    tested_commits_count: int
    groups: tuple[tuple[str, tuple[Subject, ...]], ...]


class Tally:
    """Counts commits one by one, holding rows and subjects but no commit."""

    def __init__(self) -> None:
        self.patched_shas: list[str] = []
        self._is_partial = False
        self._commits_count = 0
        self._merges_count = 0
        self._moments: list[int] = []
        self._lines_added = 0
        self._lines_deleted = 0
        self._binaries_count = 0
        self._tested_commits_count = 0
        self._authors: dict[str, _Count] = {}
        self._areas: dict[str, _Count] = {}
        self._files: dict[str, _Count] = {}
        self._groups: dict[str, list[Subject]] = {}

    def add(self, commit: Commit) -> None:
        """Count one commit."""
        self._is_partial |= commit.files_count > len(commit.files)
        self._commits_count += 1
        self._merges_count += commit.is_merge
        self._moments.append(commit.committed_at_s)
        self._lines_added += commit.lines_added
        self._lines_deleted += commit.lines_deleted
        self._binaries_count += sum(change.is_binary for change in commit.files)
        self._tested_commits_count += any(is_test(change.path) for change in commit.files)
        if commit.lines_added:
            self.patched_shas.append(commit.sha)
        self._add_rows(commit)
        subject = Subject(sha=commit.sha, author=commit.author, text=commit.subject)
        self._groups.setdefault(kind_of(commit), []).append(subject)

    def facts(self) -> Facts:
        """Return the counts so far."""
        moments = self._moments or [0]
        return Facts(
            is_partial=self._is_partial or _OVERFLOW in self._files,
            commits_count=self._commits_count,
            merges_count=self._merges_count,
            oldest_at_s=min(moments),
            newest_at_s=max(moments),
            lines_added=self._lines_added,
            lines_deleted=self._lines_deleted,
            binaries_count=self._binaries_count,
            authors=_top(self._authors),
            authors_count=len(self._authors),
            areas=_top(self._areas),
            areas_count=len(self._areas),
            files=_top(self._files),
            files_count=len(self._files),
            test_files_count=sum(map(is_test, self._files)),
            tested_commits_count=self._tested_commits_count,
            groups=_by_size(self._groups),
        )

    def _add_rows(self, commit: Commit) -> None:
        author = _row(self._authors, commit.author)
        author.add(lines_added=commit.lines_added, lines_deleted=commit.lines_deleted)
        for change in commit.files:
            _row(self._files, change.path).add_change(change)
        for name, changes in _by_area(commit.files).items():
            _row(self._areas, name).add(
                lines_added=sum(change.lines_added for change in changes),
                lines_deleted=sum(change.lines_deleted for change in changes),
            )


class _Count:
    """A row that is still growing."""

    __slots__ = ("commits_count", "lines_added", "lines_deleted")

    def __init__(self) -> None:
        self.commits_count = 0
        self.lines_added = 0
        self.lines_deleted = 0

    def add(self, *, lines_added: int, lines_deleted: int) -> None:
        self.commits_count += 1
        self.lines_added += lines_added
        self.lines_deleted += lines_deleted

    def add_change(self, change: FileChange) -> None:
        self.add(lines_added=change.lines_added, lines_deleted=change.lines_deleted)


def area_of(path: str) -> str:
    """Return the first directory of a path."""
    first, slash, _ = path.partition("/")
    return first if slash else _TOP_LEVEL


def is_test(path: str) -> bool:
    """Tell whether a path looks like a test's, by its directories or its name."""
    *directories, name = path.split("/")
    is_among_tests = not _TEST_DIRECTORIES.isdisjoint(part.lower() for part in directories)
    return is_among_tests or _TEST_NAME.fullmatch(name) is not None


def kind_of(commit: Commit) -> str:
    """Return the group of a commit: its conventional prefix, `merge`, or its largest area."""
    prefix = _KIND.match(commit.subject)
    if prefix is not None:
        return prefix.group(1).lower()
    if commit.is_merge:
        return "merge"
    areas = _by_area(commit.files)
    return max(areas, key=lambda name: len(areas[name]), default="(no files)")


def _by_area(changes: Iterable[FileChange]) -> dict[str, list[FileChange]]:
    areas: dict[str, list[FileChange]] = {}
    for change in changes:
        areas.setdefault(area_of(change.path), []).append(change)
    return areas


def _row(rows: dict[str, _Count], name: str) -> _Count:
    key = name if name in rows or len(rows) < _ROWS_MAX else _OVERFLOW
    return rows.setdefault(key, _Count())


def _top(rows: dict[str, _Count]) -> tuple[Row, ...]:
    def weight(name: str) -> tuple[int, int, str]:
        row = rows[name]
        return (-row.commits_count, -row.lines_added - row.lines_deleted, name)

    return tuple(
        Row(
            name=name,
            commits_count=rows[name].commits_count,
            lines_added=rows[name].lines_added,
            lines_deleted=rows[name].lines_deleted,
        )
        for name in sorted(rows, key=weight)[:_TOP_MAX]
    )


def _by_size(groups: dict[str, list[Subject]]) -> tuple[tuple[str, tuple[Subject, ...]], ...]:
    names = sorted(groups, key=lambda name: (-len(groups[name]), name))
    return tuple((name, tuple(groups[name])) for name in names)
