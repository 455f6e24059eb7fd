"""Texts with a NUL, which Postgres can't hold and SQLite can."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from supervisor.storage.database import Value

# Two of the code points that Unicode keeps for a program's own use and never assigns: they stand
# in no text that means anything (https://www.unicode.org/faq/private_use.html#noncharacters, read
# 2026-11-21). A mark that is in a text all the same is written twice, so that every text comes
# back as it went in, and two that differ stay different.
_MARK = "\ufdd0"
_NUL = "\ufdd0\ufdd1"
_MARKED = re.compile("\ufdd0([\ufdd0\ufdd1])")


def without_nul(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the parameters of a statement as Postgres can take them."""
    for value in values.values():
        if isinstance(value, str) and ("\x00" in value or _MARK in value):
            return {name: _encode(value) for name, value in values.items()}
    return values


def with_nul(found: Sequence[Value]) -> Sequence[Value]:
    """Return a row as it was before its texts were written without NUL."""
    for value in found:
        if isinstance(value, str) and _MARK in value:
            return [_decode(value) for value in found]
    return found


def _encode(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    return value.replace(_MARK, _MARK * 2).replace("\x00", _NUL)


def _decode(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    return _MARKED.sub(lambda marked: _MARK if marked[1] == _MARK else "\x00", value)
