"""A worker's own directory, and the reports that it leaves for people."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path

from supervisor.errors import InputRefused
from supervisor.redaction import REDACTION

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,149}")
_NOT_SLUG = re.compile(r"[^a-z0-9]+")
#: There is none, or a link stands in its place.
_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_SLUG_MAX = 60  # with a day, the longest worker and a number, below the 150 of a name


def replace_file(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader, or a crash, sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _untold(_name: str, _refused: InputRefused) -> None:
    return


class WorkerFiles:
    """The worker's own directory: plain file names only, so that nothing leads out of it."""

    def __init__(
        self, folder: Path, on_refused: Callable[[str, InputRefused], None] = _untold
    ) -> None:
        self._folder = folder
        self._on_refused = on_refused

    def path(self, name: str) -> Path:
        """Return where the file `name` is or would be.

        Raises:
            InputRefused: the name is not a plain file name, or the directory leads elsewhere.
        """
        try:
            _check_no_link(self._folder)
            return self._folder / _plain(name)
        except InputRefused as refused:
            self._on_refused(name, refused)
            raise

    def read_text(self, name: str) -> str | None:
        """Return the file's text, None if there is no such file."""
        path = self.path(name)
        try:
            # Not followed in the same step in which it is opened: nothing can change in between.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            raise
        with os.fdopen(descriptor, "rb") as file:
            return file.read().decode()  # as it is: reading as text would change line ends

    def write_text(self, name: str, text: str) -> None:
        """Replace the file whole, durably."""
        replace_file(self.path(name), text)


class Reports:
    """Markdown for people, all workers' in one folder."""

    def __init__(self, state_dir: Path, worker: str) -> None:
        self._state_dir = state_dir
        self._worker = worker

    @property
    def folder(self) -> Path:
        """Where they all are."""
        return self._state_dir / "reports"

    def path(self, name: str) -> Path:
        """Return where the report `name` is or would be."""
        return self.folder / f"{_plain(name)}.md"

    def place(
        self, title: str, *, name: str | None, day: str, taken: Collection[Path | None] = ()
    ) -> Path:
        """Return where a report belongs; without a `name` in a place of its own.

        `taken` are places that will be used though nothing is there yet.
        """
        if name:
            return self.path(name)
        stem = f"{day}-{self._worker}-{_slug(title)}"
        path, number = self.path(stem), 1
        while path.exists() or path in taken:
            number += 1
            path = self.path(f"{stem}-{number}")
        return path

    def render(self, title: str, markdown: str) -> str:
        """Return the file's text."""
        return REDACTION.text(f"# {_one_line(title)}\n\n{markdown.strip()}\n")


def _check_no_link(folder: Path) -> None:
    if folder.is_symlink():
        raise InputRefused(
            subject=f"directory {folder}",
            what="is a link, which leads out of it",
            fix="remove the link; the directory is made again",
        )


def _plain(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputRefused(
            subject=f"file name {name[:80]!r}",
            what="is not a plain file name",
            fix="use letters, digits and . _ @ -, at most 150, and no folders",
        )
    return name


def _slug(title: str) -> str:
    return _NOT_SLUG.sub("-", title.lower()).strip("-")[:_SLUG_MAX] or "report"


def _one_line(title: str) -> str:
    return " ".join(title.split())
