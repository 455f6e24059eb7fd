"""The outgoing ping: a healthchecks-style URL that is told of start, success and fail."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup
from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 10.0
_EVERY_S = 60.0
_LAST_WORDS_TIMEOUT_S = 2.0
_BODY_MAX = 1_000


class Ping:
    """Reports at most once a minute, and at once when the verdict changes.

    `URL/start` once, then `URL` while every worker makes progress and `URL/fail` with the
    reasons otherwise: https://healthchecks.io/docs/http_api (read 2026-11-21).
    """

    def __init__(
        self,
        url: str,
        *,
        tasks: TaskGroup,
        clock: Clock,
        log: FilteringBoundLogger,
        open_client: Callable[[], httpx.AsyncClient] | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._tasks = tasks
        self._clock = clock
        self._log = log
        self._open_client = open_client or _open_client
        self._client: httpx.AsyncClient | None = None
        # One at a time, in order: a start that arrives after its success begins a run anew.
        self._sending = anyio.Lock()
        self._last_s: float | None = None
        self._was_well: bool | None = None

    def report(self, troubles: Sequence[str]) -> None:
        """Send what is due, without waiting for it."""
        if not self._url:
            return
        now_s = self._clock.monotonic()
        is_well = not troubles
        if self._last_s is None:
            self._send("/start", "")
        elif is_well == self._was_well and now_s - self._last_s < _EVERY_S:
            return
        self._last_s, self._was_well = now_s, is_well
        self._send("" if is_well else "/fail", "\n".join(troubles))

    def _send(self, path: str, body: str) -> None:
        self._tasks.start_soon(self._post, f"{self._url}{path}", body[:_BODY_MAX])

    async def _post(self, url: str, body: str) -> None:
        try:
            async with self._sending:
                await self._post_now(url, body)
        except Exception as error:  # noqa: BLE001 - a task's border: a ping never ends the daemon
            # Nobody to tell but the log: the other side notices the silence, which is its job.
            self._log.warning("ping_failed", error_type=type(error).__name__)

    async def _post_now(self, url: str, body: str) -> None:
        if self._client is None:
            self._client = self._open_client()
        with anyio.fail_after(_TIMEOUT_S):
            answer = await self._client.post(url, content=body)
        answer.raise_for_status()


def fail_now(url: str, reason: str) -> None:
    """Send a failure and wait for it: the last words of a process whose loop is blocked.

    For a thread; whether it arrives is nobody's trouble any more.
    """
    if not url:
        return
    import httpx

    with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        body = reason[:_BODY_MAX]
        httpx.post(f"{url.rstrip('/')}/fail", content=body, timeout=_LAST_WORDS_TIMEOUT_S)


def _open_client() -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(timeout=_TIMEOUT_S)
