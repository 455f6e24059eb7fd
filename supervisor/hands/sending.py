"""Sending one request: its turn, the gates, its record, and the bounded answer."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import cache
from typing import cast

import anyio
import httpcore
import httpx

from supervisor.errors import HttpFailed, Refusal, RequestRefused
from supervisor.events.hands_kinds import HttpEnded, HttpRequested
from supervisor.hands.bodies import Arriving, BoundedBody, packing_of
from supervisor.hands.connecting import CheckedBackend
from supervisor.hands.failures import failed, late, oversized, timed_out
from supervisor.hands.host_book import HostBook
from supervisor.hands.records import ToolRecords
from supervisor.hands.rules import HttpRules, Target
from supervisor.hands.unpacking import ACCEPTED

_CONNECTIONS_MAX = 20


class Sender:
    """Sends requests that may be sent, each once. Used by the tasks of one tick."""

    def __init__(self, rules: HttpRules, book: HostBook, records: ToolRecords) -> None:
        self._rules = rules
        self._book = book
        self._records = records
        self._count = 0
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls_context(),
            network_backend=CheckedBackend(rules),
            max_connections=_CONNECTIONS_MAX,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def send(
        self, request: httpx.Request, target: Target, *, deadline_s: float, every_s: float
    ) -> httpx.Response:
        """Wait for the host's turn, pass the gates, and send.

        Raises:
            Refusal: a gate said no, or the address may not be reached.
            HttpFailed: there was no answer, or it would come too late.
        """
        await self._wait_for_turn(target, deadline_s=deadline_s, every_s=every_s)
        self._count_one(target)
        use_id = self._records.next_id("h")
        worker = self._records.tick.worker
        requested = HttpRequested(
            worker=worker, request=use_id, method=request.method[:20], url=target.url
        )
        await self._records.begin(use_id, requested)
        began_s = anyio.current_time()

        def end(status: int, body_bytes: int, why: str) -> None:
            ended = HttpEnded(
                worker=worker,
                request=use_id,
                status=status,
                body_bytes=body_bytes,
                duration_s=round(anyio.current_time() - began_s, 6),
                why=why,
            )
            self._records.end(use_id, ended)

        return await self._exchange(request, target, deadline_s=deadline_s, end=end)

    async def _wait_for_turn(self, target: Target, *, deadline_s: float, every_s: float) -> None:
        now_s = anyio.current_time()
        rest_s = self._book.rests_for_s(target.host, now_s=now_s)
        if now_s + rest_s > deadline_s:
            what = f"{target.host} asked not to be called for another {rest_s:.0f} s; not sent"
            raise failed(target.url, "rate_limited", what, retry_after_s=rest_s)
        turn_s = self._book.take_turn(
            target.host, every_s=every_s, now_s=now_s + rest_s, latest_s=deadline_s
        )
        if turn_s > deadline_s:
            raise late(self._rules, target.url, turn_s - now_s, why="its turn at the host comes")
        await anyio.sleep(turn_s - now_s)

    def _count_one(self, target: Target) -> None:
        self._count += 1
        if self._count > self._rules.requests_max:
            refusal = RequestRefused(
                subject=f"request {target.url}",
                reason="count",
                what=f"the tick has sent {self._rules.requests_max} already",
                fix=f"go on in the next tick, or raise requests_max of {self._rules.section}",
            )
            self._records.refused("http", target.url, refusal)
            raise refusal

    async def _exchange(
        self,
        request: httpx.Request,
        target: Target,
        *,
        deadline_s: float,
        end: Callable[[int, int, str], None],
    ) -> httpx.Response:
        status = 0
        try:
            answer = await self._ask(request, target)
            status = answer.status
            return await self._bounded(request, answer, target, deadline_s=deadline_s, end=end)
        except (HttpFailed, Refusal) as error:
            end(status, 0, error.what)
            if isinstance(error, RequestRefused):
                self._records.refused("http", target.url, error)
            raise
        except BaseException:
            end(status, 0, "cancelled while it was in flight")
            raise

    async def _ask(self, request: httpx.Request, target: Target) -> httpcore.Response:
        # The host that was looked at is the one that is asked for, and the caller is named.
        request.headers["host"] = request.url.netloc.decode("ascii")
        request.headers["user-agent"] = self._rules.user_agent
        request.headers["accept-encoding"] = ACCEPTED
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=cast("httpx.AsyncByteStream", request.stream),
            extensions={"timeout": self._timeouts()},
        )
        try:
            return await self._pool.handle_async_request(asked)
        except httpcore.TimeoutException as error:
            raise timed_out(self._rules, target.url, error) from error
        except httpcore.ConnectError as error:
            raise failed(target.url, "unreachable", f"can't be reached: {error}") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise failed(target.url, "broken", f"its answer is none: {error}") from error

    def _timeouts(self) -> dict[str, float]:
        read_s, connect_s = self._rules.read_timeout_s, self._rules.connect_timeout_s
        return {"connect": connect_s, "pool": connect_s, "read": read_s, "write": read_s}

    async def _bounded(
        self,
        request: httpx.Request,
        answer: httpcore.Response,
        target: Target,
        *,
        deadline_s: float,
        end: Callable[[int, int, str], None],
    ) -> httpx.Response:
        headers = httpx.Headers(answer.headers)
        arriving = cast("Arriving", answer.stream)
        try:
            packing = packing_of(headers, target.url)
            length = headers.get("content-length", "")
            has_body = request.method != "HEAD"
            if has_body and length.isdecimal() and int(length) > self._rules.body_max_bytes:
                raise oversized(self._rules, target.url)
        except HttpFailed:
            await arriving.aclose()
            raise
        # What is handed on is unpacked, so that these two would be wrong of it.
        for name in ("content-encoding", "content-length") if packing else ():
            headers.pop(name, None)
        body = BoundedBody(
            arriving,
            rules=self._rules,
            url=target.url,
            packing=packing,
            deadline_s=deadline_s,
            on_end=lambda body_bytes, why: end(answer.status, body_bytes, why),
        )
        return httpx.Response(answer.status, headers=headers, stream=body)


@cache
def _tls_context() -> ssl.SSLContext:
    # Once in a process: the certificates take 20 ms to load. The environment is not read.
    return httpx.create_ssl_context(trust_env=False)
