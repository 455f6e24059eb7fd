"""Unpacking a body piece by piece, so that a small one can't become a large one unseen."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

#: Of a piece that is unpacked at once; the body's own bound is looked at after each.
_PIECE_BYTES = 65_536
_GZIP_OR_ZLIB = 47
_RAW_DEFLATE = -15

#: What is asked for, and all that is understood.
ACCEPTED = "gzip, deflate"


class Unpacked:
    """A body whose packing is `identity`, `gzip` or `deflate`; fed in order, by one task.

    Raises from `feed`: zlib.error where it is not packed so.
    """

    def __init__(self, packing: str) -> None:
        self._is_packed = packing not in ("", "identity")
        self._may_be_raw = packing == "deflate"
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._has_begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what `chunk` holds, in pieces of at most 65,536 bytes where it is packed."""
        if not self._is_packed:
            yield chunk
            return
        while chunk:
            piece = self._unpack(chunk)
            if piece:
                yield piece
            if self._stream.eof:
                # Another member may follow (RFC 1952, section 2.2); padding of zeros is none.
                chunk = self._stream.unused_data.lstrip(b"\0")
                self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            else:
                chunk = self._stream.unconsumed_tail

    def _unpack(self, chunk: bytes) -> bytes:
        try:
            piece = self._stream.decompress(chunk, _PIECE_BYTES)
        except zlib.error:
            if self._has_begun or not self._may_be_raw:
                raise
            # Some servers send bare deflate under that name (RFC 9110, section 8.4.1.2).
            self._stream = zlib.decompressobj(_RAW_DEFLATE)
            piece = self._stream.decompress(chunk, _PIECE_BYTES)
        self._has_begun = True
        return piece
