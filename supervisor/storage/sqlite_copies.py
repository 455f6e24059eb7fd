"""Copies of a SQLite store: made while it is in use, checked, and put in its place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from supervisor.errors import StoreDamaged, StoreUnavailable
from supervisor.storage.sqlite_connection import BUSY_TIMEOUT_S, translate

_FINDINGS_MAX = 5
_LOGS = ("-wal", "-shm")


class Stamp(msgspec.Struct, frozen=True):
    """What tells whether a store's files were written to: sizes and times, none where missing."""

    files: tuple[tuple[int, int] | None, ...]


def copy_store(source: Path, target: Path) -> None:
    """Copy the store as of one moment into a new file that needs no log beside it.

    Daemons and commands may go on writing to `source` meanwhile: they are not in the copy. Nothing
    is checked; see `check_whole`.

    Raises:
        StoreUnavailable: the source can't be read, or the target not be written.
    """
    with _file_errors(target):
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with _connected(source, mode="ro") as reading, _connected(target, mode="rw") as writing:
        try:
            # In one step, so that no commit of another process begins the copy anew.
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise translate(error, source) from error
    sync_file(target)


def check_whole(path: Path) -> None:
    """Check every page and index of a database that nobody writes to.

    Raises:
        StoreDamaged: it is damaged; the first findings are named.
    """
    with _connected(path, mode="ro") as connection:
        try:
            query = f"PRAGMA integrity_check({_FINDINGS_MAX})"
            found = [str(row[0]) for row in connection.execute(query)]
        except sqlite3.Error as error:
            raise translate(error, path) from error
    if found != ["ok"]:
        what = " ".join("; ".join(found).split())
        raise StoreDamaged(
            subject=f"database {path}",
            what=f"is damaged: {what}",
            fix="use another backup",
        )


def copy_files(path: Path, target: Path) -> None:
    """Copy a store's file and its log as they are, for a look that leaves them untouched.

    Raises:
        StoreUnavailable: a file can't be read, or the target not be written.
    """
    with _file_errors(path):
        for suffix in ("", "-wal"):
            source = _beside(path, suffix)
            if source.exists():
                _copy_file(source, _beside(target, suffix))


def _copy_file(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
        shutil.copyfileobj(reading, writing)


def stamp(path: Path) -> Stamp:
    """Return what changes when the store is written to."""
    files = (path, _beside(path, "-wal"))
    return Stamp(files=tuple(_stat(file) for file in files))


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        StoreUnavailable: it can't be read.
    """
    with _file_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep_beside(fresh: Path, target: Path, *, may_replace: bool) -> None:
    """Give a finished file its name, whole or not at all.

    Raises:
        StoreUnavailable: there is one of that name and it is not to be replaced, or no room.
    """
    try:
        with _file_errors(target):
            if may_replace:
                fresh.replace(target)
            else:
                target.hardlink_to(fresh)
                fresh.unlink()
            sync_folder(target.parent)
    except FileExistsError as error:
        raise StoreUnavailable(
            subject=f"file {target}",
            what="is there already; nothing was written",
            fix="name another file, or add --force to replace it",
        ) from error


def put_in_place(fresh: Path, path: Path, aside: Path) -> None:
    """Put `fresh` in the store's place and keep what was there, log and all, under `aside`.

    At each instant, also of a power cut, there is the old store, or an empty file, which every
    start refuses, or the new store: never none, which a start would take for a first one, and
    never the new one beside the old one's log.

    Raises:
        StoreUnavailable: a file can't be moved.
    """
    with _file_errors(path):
        sync_file(fresh)
        for suffix in ("", "-wal"):
            if _beside(path, suffix).exists():
                _beside(aside, suffix).hardlink_to(_beside(path, suffix))
        empty = path.with_name(f"{fresh.name}.empty")
        os.close(os.open(empty, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        empty.replace(path)
        sync_folder(path.parent)
        for suffix in _LOGS:
            _beside(path, suffix).unlink(missing_ok=True)
        sync_folder(path.parent)
        fresh.replace(path)
        sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a scratch store with its logs, as far as it is there."""
    for suffix in ("", "-wal", "-shm", "-journal", ".empty"):
        with contextlib.suppress(OSError):
            _beside(path, suffix).unlink()


def sync_file(path: Path) -> None:
    """See that a file's content outlives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """See that a folder's names outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def _connected(path: Path, *, mode: str) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_S,
        )
    except sqlite3.Error as error:
        raise translate(error, path) from error
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Translate what the file system says, except that a name is taken."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreUnavailable(
            subject=f"file {error.filename or path}",
            what=f"{error.strerror or error}; the store was left as it is",
            fix="check that the folder is there, writable for this user, and has room",
        ) from error
