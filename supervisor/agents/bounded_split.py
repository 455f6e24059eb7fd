"""Splits a stream of bytes at a separator, in bounded memory."""

from __future__ import annotations


class BoundedSplit:
    """Cuts chunks into tokens; of a longer token only the first `token_bytes_max` are kept."""

    def __init__(self, separator: bytes, *, token_bytes_max: int) -> None:
        self._separator = separator
        self._token_bytes_max = token_bytes_max
        self._open = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the tokens that `chunk` completes, without their separator."""
        first, *rest = chunk.split(self._separator)
        self._extend(first)
        tokens = []
        for piece in rest:
            tokens.append(self._open)
            self._open = b""
            self._extend(piece)
        return tokens

    def _extend(self, piece: bytes) -> None:
        self._open += piece[: self._token_bytes_max - len(self._open)]
