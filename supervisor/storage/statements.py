"""Named SQL statements, read from files, and what their texts say of themselves."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

_SQL = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (?P<name>[a-z_]+)$", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*")
_WRITES = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)")
_WORD = re.compile(r"\w+")
_READS = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)")

#: A parameter is :name; not in a text, not in a comment, and :: is a cast.
TOKEN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|::|:(?P<name>[a-z_][a-z0-9_]*)")


def load(dialect: str) -> dict[str, str]:
    """Return every statement as `file.name`: the shared ones, then the dialect's overrides.

    `dialect` is the name of a folder beside the shared files; it need not exist.
    """
    statements: dict[str, str] = {}
    for folder in (_SQL, _SQL / dialect):
        for path in sorted(folder.glob("*.sql")):
            statements.update(_parse(path))
    return statements


def _parse(path: Path) -> dict[str, str]:
    parts = _NAME.split(path.read_text(encoding="utf-8"))
    named = zip(parts[1::2], parts[2::2], strict=True)
    return {f"{path.stem}.{name}": text.strip() for name, text in named}


@functools.cache
def table_written(text: str) -> str | None:
    """Return the one table that a statement changes, None where it changes none.

    Empty where its first words don't say: then it may be any. No trigger of ours writes.
    """
    plain = _COMMENT.sub("", text)
    found = _WRITES.match(plain)
    if found:
        return found[1]
    return None if plain.lstrip().startswith("SELECT") else ""


@functools.cache
def tables_read(text: str) -> frozenset[str]:
    """Return the tables that a statement reads."""
    return frozenset(_READS.findall(_COMMENT.sub("", text)))


@functools.cache
def words(text: str) -> frozenset[str]:
    """Return every word of a statement: each table that it names is among them."""
    return frozenset(_WORD.findall(_COMMENT.sub("", text)))


def placed(text: str, parameters: Sequence[str]) -> str:
    """Return a statement with each parameter as `?N`, N its place from 1 on among `parameters`.

    Raises:
        ValueError: a parameter of the statement is not among them.
    """

    def replace(token: re.Match[str]) -> str:
        name = token["name"]
        return f"?{parameters.index(name) + 1}" if name else token[0]

    return TOKEN.sub(replace, text)
