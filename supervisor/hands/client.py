"""`ctx.http`: an httpx client whose every request passes the worker's rules and the gates."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

from supervisor.backoff import delay_s
from supervisor.errors import RequestRefused
from supervisor.hands.failures import failed, late, timed_out
from supervisor.hands.host_book import HostBook
from supervisor.hands.records import ToolRecords
from supervisor.hands.robots import RobotsRules
from supervisor.hands.rules import HttpRules, Target, check_method, target_of
from supervisor.hands.sending import Sender
from supervisor.providers.http_errors import retry_after_s

_DEADLINE = "supervisor.deadline_s"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_TOO_MANY, _UNAVAILABLE = 429, 503
_WISH_MAX_S = 366 * 86_400.0
_REST_MAX_S = 86_400.0
_BACKOFF_FIRST_S = 1.0
_BACKOFF_FACTOR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a tick's client works with; `is_publishing` says whether outputs are being sent."""

    book: HostBook
    records: ToolRecords
    chance: random.Random
    is_publishing: Callable[[], bool]


class _Guarded(httpx.AsyncBaseTransport):
    """Takes each hop of a request, redirects too, through the rules of its worker."""

    def __init__(self, rules: HttpRules, reach: Reach) -> None:
        self._rules = rules
        self._book = book = reach.book
        self._records = records = reach.records
        self._chance = reach.chance
        self._is_publishing = reach.is_publishing
        self._sender = Sender(rules, book, records)
        self._robots = RobotsRules(rules, book, self._sender)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one hop.

        Raises:
            Refusal: a gate or a rule said no.
            HttpFailed: there was no answer within the bounds.
        """
        deadline_s = float(request.extensions[_DEADLINE])
        target = self._target(request)
        try:
            with anyio.fail_after(max(deadline_s - anyio.current_time(), 0.0)):
                every_s = await self._interval_s(request.url, target, deadline_s)
                return await self._patiently(request, target, deadline_s, every_s)
        except TimeoutError as error:
            raise timed_out(self._rules, target.url) from error

    def _target(self, request: httpx.Request) -> Target:
        url = request.url
        try:
            target = target_of(
                self._rules, scheme=url.scheme, host=url.host, port=url.port, path=url.path
            )
            is_publishing = self._is_publishing()
            check_method(self._rules, request.method, target.url, is_publishing=is_publishing)
        except RequestRefused as refusal:
            self._records.refused("http", f"{url.scheme}://{url.host}", refusal)
            raise
        return target

    async def _interval_s(self, url: httpx.URL, target: Target, deadline_s: float) -> float:
        """Ask robots.txt, and return the seconds between requests to the host."""
        if not self._rules.robots:
            return self._rules.host_every_s
        try:
            wish_s = await self._robots.check(str(url), target, deadline_s=deadline_s)
        except RequestRefused as refusal:
            if refusal.reason == "robots":
                self._records.refused("http", target.url, refusal)
            raise
        return max(wish_s, self._rules.host_every_s)

    async def _patiently(
        self, request: httpx.Request, target: Target, deadline_s: float, every_s: float
    ) -> httpx.Response:
        """Send, and again where the host asks to wait; what has effects is sent once."""
        attempts_max = self._rules.attempts_max if request.method in _SAFE else 1
        for attempt in range(1, attempts_max + 1):
            response = await self._sender.send(
                request, target, deadline_s=deadline_s, every_s=every_s
            )
            wish_s = retry_after_s(response.headers, max_s=_WISH_MAX_S)
            if not _asks_to_wait(response, wish_s):
                return response
            await response.aclose()
            wait_s = self._backoff_s(attempt) if wish_s is None else wish_s
            self._let_rest(target, response.status_code, wait_s, deadline_s=deadline_s)
            if attempt < attempts_max:
                await anyio.sleep(wait_s)
        what = f"answered {response.status_code}, {attempts_max} times in a row"
        raise failed(target.url, "rate_limited", what, retry_after_s=wait_s)

    def _let_rest(self, target: Target, status: int, wait_s: float, *, deadline_s: float) -> None:
        now_s, most_s = anyio.current_time(), self._rules.retry_after_max_s
        self._book.rest(target.host, until_s=now_s + min(wait_s, _REST_MAX_S))
        if wait_s > most_s:
            what = (
                f"answered {status} and asks to wait {wait_s:.0f} s,"
                f" more than retry_after_max_s = {most_s:g} of {self._rules.section}"
            )
            raise failed(target.url, "rate_limited", what, retry_after_s=wait_s)
        if now_s + wait_s >= deadline_s:
            raise late(self._rules, target.url, wait_s, why=f"answered {status}; the next try is")

    def _backoff_s(self, attempt: int) -> float:
        return delay_s(
            attempt,
            first_s=_BACKOFF_FIRST_S,
            max_s=self._rules.retry_after_max_s,
            factor=_BACKOFF_FACTOR,
            chance=self._chance,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._sender.close()


def _asks_to_wait(response: httpx.Response, wish_s: float | None) -> bool:
    status = response.status_code
    return status == _TOO_MANY or (status == _UNAVAILABLE and wish_s is not None)


class GuardedClient(httpx.AsyncClient):
    """An httpx client for one tick of one worker; closed by the tick.

    What httpx raises comes out as `HttpFailed`, so that a tick which it ends has failed and not
    crashed. Redirects are followed and each is a request of its own. The environment is not read
    (proxies, netrc). `total_timeout_s` counts from the call, a stream's reading included.
    """

    def __init__(self, rules: HttpRules, reach: Reach) -> None:
        super().__init__(
            transport=_Guarded(rules, reach),
            trust_env=False,
            follow_redirects=True,
            max_redirects=rules.redirects_max,
        )
        self._rules = rules

    def build_request(self, *words: Any, **options: Any) -> httpx.Request:
        """Return the request as httpx builds it.

        Raises:
            RequestRefused: its URL is none.
        """
        try:
            return super().build_request(*words, **options)
        except httpx.InvalidURL as error:
            raise RequestRefused(
                subject="request", reason="host", what=f"its URL is none: {error}", fix="mend it"
            ) from error

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request as httpx does, within the worker's rules.

        Raises:
            Refusal: a gate or a rule said no; nothing was sent to where it was refused.
            HttpFailed: there was no whole answer within the bounds.
        """
        deadline_s = anyio.current_time() + self._rules.total_timeout_s
        request.extensions = {**request.extensions, _DEADLINE: deadline_s}
        shown = str(request.url.copy_with(query=None, userinfo=b""))
        try:
            return await super().send(request, **options)
        except httpx.TooManyRedirects as error:
            what = f"it leads on more than redirects_max = {self._rules.redirects_max} times"
            raise failed(shown, "redirects", what) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise failed(shown, "broken", f"its answer is none: {error}") from error
