"""What a site's robots.txt allows (RFC 9309)."""

from __future__ import annotations

import anyio
import httpx
from protego import Protego

from supervisor.errors import HttpFailed, RequestRefused
from supervisor.hands.host_book import HostBook, Robots
from supervisor.hands.rules import HttpRules, Target, target_of
from supervisor.hands.sending import Sender

#: RFC 9309, sections 2.3.1.2 (redirects), 2.4 (a day) and 2.5 (512,000 bytes), read 2026-11-21.
_REDIRECTS_MAX = 5
_STALE_S = 86_400.0
_BYTES_MAX = 512_000
#: The longest that a host is left alone because it wants it: it is asked again each day.
_DELAY_MAX_S = _STALE_S
#: A site that could not say is asked again soon.
_RETRY_S = 300.0
_MULTIPLE, _BAD, _FAULT = 300, 400, 500
#: "Later" says nothing about what is forbidden, so that it is as a fault of the site.
_NO_ANSWERS = frozenset({408, 425, 429})


class RobotsRules:
    """Reads robots.txt once a day and origin, with the worker's own requests."""

    def __init__(self, rules: HttpRules, book: HostBook, sender: Sender) -> None:
        self._rules = rules
        self._book = book
        self._sender = sender

    async def check(self, url: str, target: Target, *, deadline_s: float) -> float:
        """Return the seconds that the site wants between requests, 0 where it does not say.

        Raises:
            RequestRefused: the site does not want this URL to be read, or could not say.
            Refusal: a gate said no.
            HttpFailed: there was no time to read it.
        """
        robots = await self._of(target, deadline_s=deadline_s)
        agent = self._rules.user_agent.partition("/")[0]
        if robots.rules is None:
            if robots.allows_all:
                return 0.0
            raise self._refused(target, f"its robots.txt could not be read: {robots.why}")
        if not robots.rules.can_fetch(url, agent):
            raise self._refused(target, f"the site's robots.txt forbids it to {agent}")
        return min(float(robots.rules.crawl_delay(agent) or 0.0), _DELAY_MAX_S)

    def _refused(self, target: Target, what: str) -> RequestRefused:
        return RequestRefused(
            subject=f"request {target.url}",
            reason="robots",
            what=what,
            fix=f"leave it; robots = false of {self._rules.section} is for a site of your own",
        )

    async def _of(self, target: Target, *, deadline_s: float) -> Robots:
        async with self._book.reading_robots(target.origin):
            known = self._book.robots(target.origin, now_s=anyio.current_time())
            if known is None:
                known = await self._read(target, deadline_s=deadline_s)
                self._book.keep_robots(target.origin, known)
        return known

    async def _read(self, target: Target, *, deadline_s: float) -> Robots:
        url = httpx.URL(f"{target.origin}/robots.txt")
        try:
            for _ in range(_REDIRECTS_MAX + 1):
                response = await self._get(url, deadline_s=deadline_s)
                if response.next_request is None:
                    return await _parsed(response)
                await response.aclose()
                url = response.next_request.url
        except HttpFailed as error:
            # Not the site's doing, or it asks to wait: nothing to remember about its rules.
            if error.reason == "rate_limited" or anyio.current_time() >= deadline_s:
                raise
            return _unknown(error.what)
        except RequestRefused as refusal:
            if refusal.reason == "count":
                raise
            return _unknown(refusal.what)
        return _unknown("it leads in circles")

    async def _get(self, url: httpx.URL, *, deadline_s: float) -> httpx.Response:
        path = url.path
        target = target_of(self._rules, scheme=url.scheme, host=url.host, port=url.port, path=path)
        request = httpx.Request("GET", url)
        response = await self._sender.send(request, target, deadline_s=deadline_s, every_s=0.0)
        response.request = request
        if response.has_redirect_location:
            try:
                location = url.join(response.headers["location"])
            except httpx.InvalidURL:
                return response
            response.next_request = httpx.Request("GET", location)
        return response


async def _parsed(response: httpx.Response) -> Robots:
    stale_at_s = anyio.current_time() + _STALE_S
    try:
        if response.status_code in _NO_ANSWERS or response.status_code >= _FAULT:
            return _unknown(f"it was answered with {response.status_code}")
        if response.status_code >= _BAD:
            # The site has none, or does not show it: nothing is forbidden (section 2.3.1.3).
            return Robots(rules=None, allows_all=True, why="", stale_at_s=stale_at_s)
        if response.status_code >= _MULTIPLE:
            return _unknown(f"it was answered with {response.status_code}")
        text = await _beginning(response)
    finally:
        await response.aclose()
    return Robots(rules=Protego.parse(text), allows_all=False, why="", stale_at_s=stale_at_s)


async def _beginning(response: httpx.Response) -> str:
    """Return as much as has to be read of it: what is beyond may be ignored (section 2.5)."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) >= _BYTES_MAX:
            break
    return bytes(body[:_BYTES_MAX]).decode("utf-8", "replace")


def _unknown(why: str) -> Robots:
    stale_at_s = anyio.current_time() + _RETRY_S
    return Robots(rules=None, allows_all=False, why=why, stale_at_s=stale_at_s)
