"""The data lines of a server-sent event stream, as the bytes arrive."""

from __future__ import annotations


class DataLines:
    """Cuts chunks into the payloads of `data:` lines; one task feeds it.

    OpenAI's and Anthropic's APIs put one JSON value on one data line and repeat the event's name
    inside it, so that event names, ids and comments are skipped. Lines end in LF or CRLF.
    Source: the HTML standard, section 9.2.6. The caller bounds what it feeds.
    """

    def __init__(self) -> None:
        self._unfinished: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the payloads of the lines that `chunk` completes, in order."""
        if b"\n" not in chunk:
            self._unfinished.append(chunk)
            return []
        *lines, rest = b"".join([*self._unfinished, chunk]).split(b"\n")
        self._unfinished = [rest]
        return _payloads(lines)

    def rest(self) -> list[bytes]:
        """Return the payload of a last line that has no line end, if there is one."""
        return _payloads([b"".join(self._unfinished)])


def _payloads(lines: list[bytes]) -> list[bytes]:
    data = (line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:"))
    return [payload for payload in data if payload]
