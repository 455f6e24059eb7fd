"""Reading on past rows that can't be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from supervisor.storage.database import RowT

K = TypeVar("K", int, str)

#: Below every position that an event can have.
BEFORE_ALL = -(2**63)

_TEXT_MAX = 200


class NumberKey(msgspec.Struct, frozen=True):
    """The key of a row that is numbered."""

    key: int


class TextKey(msgspec.Struct, frozen=True):
    """The key of a row that is named."""

    key: str


def sound_rows(
    read: Callable[[K], Iterator[RowT]],
    *,
    after: K,
    key: Callable[[RowT], K],
    pass_over: Callable[[K, Exception], K],
) -> Iterator[RowT]:
    """Yield rows in the order of their keys, also past those that can't be read.

    `read` gives the rows whose key is above its argument. `pass_over` is told after which key
    a row could not be read, and why; it returns that row's key, or raises where there is none.
    """
    at = after
    while True:
        try:
            for row in read(at):
                at = key(row)
                yield row
            return
        except Exception as error:  # noqa: BLE001 - a damaged row: its text goes on record
            at = pass_over(at, error)


def damage_text(error: Exception) -> str:
    """Return why a row can't be read, in a bounded text."""
    text = " ".join(str(error).split())
    return f"can't be read: {text[:_TEXT_MAX] or type(error).__name__}"
