"""A worker's durable state: a mapping that is committed with the tick."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TypeAlias, Union, cast

import msgspec

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]

STATE_BYTES_MAX = 1_000_000


class DurableState(MutableMapping[str, Json]):
    """Names and JSON values; what a tick changes is kept if the tick ends normally.

    A tick that is cancelled, times out, is refused or raises leaves the state as it found it, or as
    its last item of `ctx.each` has left it.
    Its size as JSON is at most 1,000,000 bytes.
    """

    def __init__(self, stored: str) -> None:
        self._stored = stored
        self._loaded: dict[str, Json] | None = None
        #: What was committed of it within the tick, None for nothing.
        self.committed: str | None = None

    @property
    def _values(self) -> dict[str, Json]:
        # On first use: most ticks of most workers never look.
        if self._loaded is None:
            self._loaded = cast("dict[str, Json]", msgspec.json.decode(self._stored))
        return self._loaded

    def __getitem__(self, key: str) -> Json:
        return self._values[key]

    def __setitem__(self, key: str, value: Json) -> None:
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def encode(self) -> str | None:
        """Return the state as it is stored, None if nothing has looked at it.

        Raises:
            TypeError: a value is not JSON.
            ValueError: it is above its size, or a value would come back as another.
        """
        if self._loaded is None:
            return None
        try:
            encoded = msgspec.json.encode(self._loaded, order="sorted")
        except RecursionError as error:
            raise ValueError(
                "ctx.state holds a value that holds itself: keep plain JSON"
            ) from error
        if len(encoded) > STATE_BYTES_MAX:
            raise ValueError(
                f"ctx.state holds {len(encoded)} bytes, at most {STATE_BYTES_MAX} are kept:"
                " put large things into ctx.files"
            )
        self._require_same(msgspec.json.decode(encoded, type=dict[str, object]))
        return encoded.decode()

    def _require_same(self, back: dict[str, object]) -> None:
        # The encoder takes more than JSON has: a set as a list, a moment as a text, NaN as null.
        for key, value in self._values.items():
            if back[key] != _with_lists(value):
                raise ValueError(
                    f"ctx.state[{key!r}] would come back as another value: keep texts, finite"
                    " numbers, truths, None, lists and dicts of them"
                )


def _with_lists(value: object) -> object:
    """Return `value` with its tuples as the lists that they come back as, which changes nothing."""
    if isinstance(value, list | tuple):
        return [_with_lists(member) for member in value]
    if isinstance(value, dict):
        return {key: _with_lists(member) for key, member in value.items()}
    return value
