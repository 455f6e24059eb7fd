"""An answer's body: unpacked, and bounded in size and time."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import anyio
import httpcore
import httpx

from supervisor.errors import HttpFailed
from supervisor.hands.failures import failed, oversized, timed_out
from supervisor.hands.rules import HttpRules
from supervisor.hands.unpacking import ACCEPTED, Unpacked


class Arriving(Protocol):
    """A body as httpcore gives it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None:
        """Give the connection back."""
        ...


class BoundedBody(httpx.AsyncByteStream):
    """Reads a body up to its bounds; `on_end` is called once, with its bytes and what went wrong.

    Both the bytes as sent and as unpacked are bounded. `deadline_s` is the event loop's moment
    until which the body must have been read.
    """

    def __init__(
        self,
        arriving: Arriving,
        *,
        rules: HttpRules,
        url: str,
        packing: str,
        deadline_s: float,
        on_end: Callable[[int, str], None],
    ) -> None:
        self._arriving = arriving
        self._rules = rules
        self._url = url
        self._unpacked = Unpacked(packing)
        self._deadline_s = deadline_s
        self._on_end = on_end
        self._sent_bytes = 0
        self._body_bytes = 0
        self._why = "not read to its end"
        self._has_ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            chunks = self._arriving.__aiter__()
            while (chunk := await self._next(chunks)) is not None:
                self._sent_bytes = self._bounded(self._sent_bytes + len(chunk))
                for piece in self._unpacked.feed(chunk):
                    self._body_bytes = self._bounded(self._body_bytes + len(piece))
                    yield piece
        except zlib.error as error:
            broken = f"its body is not packed as it says: {error}"
            self._why = broken
            raise failed(self._url, "broken", broken) from error
        except HttpFailed as error:
            self._why = error.what
            raise
        self._why = ""

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            with anyio.fail_after(max(self._deadline_s - anyio.current_time(), 0.0)):
                return await anext(chunks, None)
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise timed_out(self._rules, self._url, error) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise failed(self._url, "broken", f"its answer broke off: {error}") from error

    def _bounded(self, size: int) -> int:
        if size > self._rules.body_max_bytes:
            raise oversized(self._rules, self._url)
        return size

    async def aclose(self) -> None:
        try:
            await self._arriving.aclose()
        finally:
            if not self._has_ended:
                self._has_ended = True
                self._on_end(self._body_bytes, self._why)


def packing_of(headers: httpx.Headers, url: str) -> str:
    """Return how a body is packed.

    Raises:
        HttpFailed: in a way that was not asked for.
    """
    packing: str = headers.get("content-encoding", "").strip().lower().replace("x-gzip", "gzip")
    if packing not in ("", "identity", *ACCEPTED.split(", ")):
        raise failed(url, "broken", f"its body is packed as {packing[:40]!r}, not asked for")
    return packing
