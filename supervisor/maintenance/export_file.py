"""Exports as files: compressed JSON lines, a header, each row of each table, a trailer."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import msgspec

from supervisor.errors import StoreDamaged, StoreUnavailable
from supervisor.storage.database import Value
from supervisor.storage.scratch import ScratchStore, UnknownColumn
from supervisor.storage.sqlite_copies import sync_folder

FORMAT = 1
_BATCH_ROWS = 500
_LINE_BYTES_MAX = 64_000_000


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what the file is, by which version, and its number in its store."""

    format: int
    number: int
    version: str


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row of a table, what is BLOB there in base64; or the trailer, which has `rows` alone.

    `rows` are how many each table has before it. A file without a trailer was cut off.
    """

    table: str = ""
    row: dict[str, int | float | str | None] = {}
    rows: dict[str, int] | None = None


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A file that outlives a power cut; `sha256` is of its bytes."""

    path: Path
    sha256: str
    bytes: int


def write_export(folder: Path, store: ScratchStore, *, number: int, version: str) -> Written:
    """Write every row of `store` into a file in `folder`, durably, and return it.

    The file has its name only once all of it is on disk; the name has its checksum, so that two
    that differ never share one. The same rows give the same bytes.

    Raises:
        StoreUnavailable: the file can't be written; nothing is left of it.
    """
    fresh = folder / f".retired-{number:06}.{secrets.token_hex(8)}.new"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            _write_lines(file, store, Header(format=FORMAT, number=number, version=version))
            file.flush()
            os.fsync(file.fileno())
        digest = _sha256_of(fresh)
        path = folder / f"retired-{number:06}-{digest[:12]}.jsonl.gz"
        size = fresh.stat().st_size
        fresh.replace(path)
        sync_folder(folder)
    except OSError as error:
        raise StoreUnavailable(
            subject=f"export {folder}",
            what=f"can't be written: {error.strerror or error}; nothing was pruned",
            fix="free some space, or set [retention] folder to one that this user can write",
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
    return Written(path=path, sha256=digest, bytes=size)


def _write_lines(file: IO[bytes], store: ScratchStore, header: Header) -> None:
    encoder = msgspec.json.Encoder()
    counts: dict[str, int] = {}
    # Neither a time nor a name in it: the same rows are the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
        packed.write(encoder.encode(header) + b"\n")
        for table in store.tables():
            blobs = [name for name, kind in store.columns(table).items() if kind == "BLOB"]
            for row in store.rows(table):
                line = {"table": table, "row": _texted(row, blobs)}
                packed.write(encoder.encode(line) + b"\n")
                counts[table] = counts.get(table, 0) + 1
        packed.write(encoder.encode(Line(rows=counts)) + b"\n")


def _texted(row: dict[str, Value], blobs: Iterable[str]) -> dict[str, Value]:
    for name in blobs:
        value = row[name]
        if isinstance(value, bytes):
            row[name] = base64.b64encode(value).decode()
    return row


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_export(path: Path, sha256: str) -> None:
    """Check that a file is, byte by byte, the one with this checksum.

    Raises:
        StoreDamaged: it is not, or can't be read.
    """
    try:
        found = _sha256_of(path)
    except OSError as error:
        raise _damaged(path, f"can't be read: {error.strerror}") from error
    if found != sha256:
        raise _damaged(path, f"has the checksum {found}, it was written with {sha256}")


def checksum_in_name(path: Path) -> None:
    """Check a file against the beginning of its checksum, where its name has it.

    Raises:
        StoreDamaged: it is not the file that got this name, or can't be read.
    """
    named = re.fullmatch(r"retired-\d+-([0-9a-f]{12})\.jsonl\.gz", path.name)
    try:
        found = _sha256_of(path)
    except OSError as error:
        raise _damaged(path, f"can't be read: {error.strerror}") from error
    if named is not None and not found.startswith(named[1]):
        raise _damaged(path, f"has the checksum {found}, its name says {named[1]}...")


def load_export(path: Path, store: ScratchStore) -> Header:
    """Put every row of the file into `store`, a batch at a time, and return its header.

    Raises:
        StoreDamaged: it can't be read, is cut off, or is of another version.
    """
    try:
        with gzip.open(path, "rb") as packed:
            return _load_lines(path, packed, store)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"can't be read: {error}") from error
    except msgspec.MsgspecError as error:
        raise _damaged(path, f"is no export: {error}") from error
    except UnknownColumn as error:
        raise _damaged(path, f"is of another version: {error}") from error


def _load_lines(path: Path, packed: gzip.GzipFile, store: ScratchStore) -> Header:
    header = msgspec.json.decode(packed.readline(_LINE_BYTES_MAX), type=Header)
    if header.format != FORMAT:
        raise _damaged(path, f"has format {header.format}, this version reads {FORMAT}")
    counts: dict[str, int] = {}
    batch: list[Mapping[str, Value]] = []
    of_table = ""
    for line in _lines(packed):
        found = msgspec.json.decode(line, type=Line)
        if found.rows is not None:
            _put(store, of_table, batch)
            if found.rows == counts:
                return header
            break
        if found.table != of_table or len(batch) >= _BATCH_ROWS:
            _put(store, of_table, batch)
            of_table, batch = found.table, []
        batch.append(_with_blobs(found, store))
        counts[of_table] = counts.get(of_table, 0) + 1
    raise _damaged(path, "is not whole: its end is missing")


def _lines(packed: gzip.GzipFile) -> Iterator[bytes]:
    while line := packed.readline(_LINE_BYTES_MAX):
        yield line


def _put(store: ScratchStore, table: str, batch: list[Mapping[str, Value]]) -> None:
    if batch:
        store.put(table, batch)


def _with_blobs(line: Line, store: ScratchStore) -> Mapping[str, Value]:
    kinds = store.columns(line.table)
    row: dict[str, Value] = dict(line.row)
    for name, value in line.row.items():
        if kinds.get(name) == "BLOB" and isinstance(value, str):
            row[name] = base64.b64decode(value)
    return row


def _damaged(path: Path, what: str) -> StoreDamaged:
    return StoreDamaged(
        subject=f"export {path}",
        what=what,
        fix="put a copy of the file back; the store itself is not touched by this",
    )
