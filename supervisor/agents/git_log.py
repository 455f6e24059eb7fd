"""Reads commits out of `git log` as they stream by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from supervisor.agents.bounded_split import BoundedSplit
from supervisor.agents.git import Cut, Git

_FIELD_BYTES_MAX = 4_096
_COMMIT_FILES_MAX = 2_000
_START = b"\x01"
_HEADER_FIELDS = 5
_RENAME_FIELDS = 2

#: With -z every field and every file ends in NUL, which neither a message nor a path can hold,
#: so no commit can pass for another one's file or header.
_FORMAT = "--format=%x01%x00%H%x00%P%x00%ct%x00%aN%x00%s%x00"

#: What every `git log` here is told, so that the user's own configuration changes nothing:
#: no other program, no colour, and the same renames everywhere.
DIFF_OPTIONS = (
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-show-signature",
    "--encoding=UTF-8",
    "--submodule=short",
    "--find-renames",
    "-l400",
    "-O/dev/null",
)


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """One file in one commit, under its new name; a binary one has no lines."""

    path: str
    lines_added: int
    lines_deleted: int
    is_binary: bool


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One commit; a merge has no files, because they are its parents' changes.

    `files` holds at most 2,000 of the `files_count` files; the sums are over all.
    """

    sha: str
    parents_count: int
    committed_at_s: int
    author: str
    subject: str
    files: tuple[FileChange, ...]
    files_count: int
    lines_added: int
    lines_deleted: int

    @property
    def is_merge(self) -> bool:
        return self.parents_count > 1


class CommitParser:
    """Turns the bytes of `git log` into commits and hands each to `on_commit`."""

    def __init__(self, on_commit: Callable[[Commit], None]) -> None:
        self._on_commit = on_commit
        self._tokens = BoundedSplit(b"\0", token_bytes_max=_FIELD_BYTES_MAX)
        self._draft: _Draft | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; each commit is handed on once the next one starts."""
        for token in self._tokens.feed(chunk):
            if self._draft is not None and self._draft.is_waiting:
                self._draft.take_field(token)
            elif token == _START:
                self._hand_on()
                self._draft = _Draft()
            elif self._draft is not None and token.strip():
                self._draft.take_file(token.lstrip(b"\n"))

    def close(self) -> None:
        """Hand on the last commit. Not to be called after a cut: that commit may lack files."""
        self._hand_on()

    def _hand_on(self) -> None:
        if self._draft is not None:
            self._on_commit(self._draft.commit())
        self._draft = None


class _Draft:
    """A commit whose fields and files are still arriving."""

    def __init__(self) -> None:
        self._header: list[str] = []
        self._files: list[FileChange] = []
        self._files_count = 0
        self._lines_added = 0
        self._lines_deleted = 0
        # Added, deleted, and the names that arrived, of a rename whose names come as fields.
        self._rename: list[bytes] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the next token is a field, whatever it looks like."""
        return len(self._header) < _HEADER_FIELDS or self._rename is not None

    def take_field(self, token: bytes) -> None:
        if len(self._header) < _HEADER_FIELDS:
            self._header.append(token.decode(errors="replace"))
            return
        assert self._rename is not None
        self._rename.append(token)
        if len(self._rename) == 2 + _RENAME_FIELDS:
            added, deleted, _, new_path = self._rename
            self._rename = None
            self._add_file(added, deleted, new_path)

    def take_file(self, token: bytes) -> None:
        added, deleted, path = token.split(b"\t", 2)
        if path:
            self._add_file(added, deleted, path)
        else:
            self._rename = [added, deleted]

    def commit(self) -> Commit:
        sha, parents, committed_at_s, author, subject = self._header
        return Commit(
            sha=sha,
            parents_count=len(parents.split()),
            committed_at_s=int(committed_at_s or 0),  # a damaged commit may have no date
            author=author,
            subject=subject,
            files=tuple(self._files),
            files_count=self._files_count,
            lines_added=self._lines_added,
            lines_deleted=self._lines_deleted,
        )

    def _add_file(self, added: bytes, deleted: bytes, path: bytes) -> None:
        is_binary = added == b"-"
        change = FileChange(
            path=path.decode(errors="replace"),
            lines_added=0 if is_binary else int(added),
            lines_deleted=0 if is_binary else int(deleted),
            is_binary=is_binary,
        )
        self._files_count += 1
        self._lines_added += change.lines_added
        self._lines_deleted += change.lines_deleted
        if len(self._files) < _COMMIT_FILES_MAX:
            self._files.append(change)


async def read_commits(
    git: Git,
    revisions: Sequence[str],
    on_commit: Callable[[Commit], None],
    *,
    commits_max: int,
    bytes_max: int,
) -> Cut | None:
    """Hand the newest `commits_max` commits of `revisions` to `on_commit`, newest first.

    Where the output is cut, the commits that were whole have been handed on; the answer is why.

    Raises:
        RepositoryNotDigested: git refused.
    """
    parser = CommitParser(on_commit)
    cut = await git.stream(
        "log",
        "-z",
        "--numstat",
        _FORMAT,
        f"--max-count={commits_max}",
        *DIFF_OPTIONS,
        *revisions,
        "--",
        sink=parser.feed,
        bytes_max=bytes_max,
    )
    if cut is None:
        parser.close()
    return cut
