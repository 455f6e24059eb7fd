"""`ctx.http` against a server that means harm: each request has a bounded, clear end."""

from __future__ import annotations

import gzip
import time
import zlib

import pytest

from supervisor.errors import HttpFailed, RequestRefused
from supervisor.hands.unpacking import Unpacked
from tests.unit.worker.conftest import Bench
from tests.unit.worker.hostile_server import (
    Conduct,
    answer,
    dripping,
    endless,
    hostile,
    in_turn,
    raw,
    redirect,
)
from tests.unit.worker.http_bench import BODY_BYTES_MAX, fetch, rules_for, rules_of

GB = 10**9
_HEAD = b"HTTP/1.1 200 OK\r\n"


def bomb(packing: str) -> bytes:
    """A body of 100 MB in 100 KB."""
    packed = gzip.compress(b"\0" * 100_000_000, 1)
    return packed if packing == "gzip" else zlib.compress(b"\0" * 100_000_000, 1)


def too_many(headers: str = "") -> Conduct:
    return answer(b"", status="429 Too Many Requests", headers=headers)


async def test_a_redirect_to_a_host_that_is_not_allowed_is_not_followed(bench: Bench) -> None:
    async with hostile(secret=answer(b"inside")) as inner:
        elsewhere = redirect(f"http://localhost:{inner.port}/secret")
        async with hostile(a=elsewhere) as site:
            error = await fetch(bench, f"{site.url}/a", rules_of(site))
    assert isinstance(error, RequestRefused)
    assert error.reason == "host"
    assert inner.heads == []


@pytest.mark.parametrize(
    "where",
    [
        "http://127.0.0.1:{port}/secret",
        "http://[::1]:{port}/secret",
        "http://[::ffff:127.0.0.1]:{port}/secret",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://localhost:{port}/secret",
        "http://2130706433:{port}/secret",
        "http://0:{port}/secret",
    ],
)
async def test_a_redirect_to_a_private_address_is_not_followed(bench: Bench, where: str) -> None:
    async with hostile(secret=answer(b"inside")) as inner:
        leading = redirect(where.format(port=inner.port))
        async with hostile("127.0.0.2", a=leading) as site:
            # Every host may be reached by its name, so that its address alone decides.
            error = await fetch(bench, f"{site.url}/a", rules_for("*:*", private=("127.0.0.2",)))
    assert isinstance(error, RequestRefused)
    assert error.reason == "address"
    assert inner.heads == []
    (recorded,) = await bench.events("guardrail_tool")
    assert (recorded["tool"], recorded["code"]) == ("http", "request_refused")


async def test_a_body_of_10_gb_is_refused_by_its_length_before_it_is_read(bench: Bench) -> None:
    conduct = endless(head=f"Content-Length: {10 * GB}\r\n")
    async with hostile(a=conduct) as site:
        error = await fetch(bench, f"{site.url}/a", rules_of(site))
    assert isinstance(error, HttpFailed)
    assert error.reason == "too_large"
    (end,) = await bench.events("http_ended")
    assert (end["status"], end["body_bytes"]) == (200, 0)


async def test_a_body_without_an_end_is_cut_at_its_bound(bench: Bench) -> None:
    async with hostile(a=endless()) as site:
        error = await fetch(bench, f"{site.url}/a", rules_of(site))
    assert isinstance(error, HttpFailed)
    assert error.reason == "too_large"
    (end,) = await bench.events("http_ended")
    assert "body_max_bytes = 1000000" in str(end["why"])


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
async def test_a_bomb_is_cut_at_its_bound(bench: Bench, packing: str) -> None:
    conduct = answer(bomb(packing), headers=f"Content-Encoding: {packing}\r\n")
    async with hostile(a=conduct) as site:
        error = await fetch(bench, f"{site.url}/a", rules_of(site))
    assert isinstance(error, HttpFailed)
    assert error.reason == "too_large"
    (end,) = await bench.events("http_ended")
    assert int(str(end["body_bytes"])) <= BODY_BYTES_MAX


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_a_bomb_is_unpacked_in_small_pieces(packing: str) -> None:
    pieces = Unpacked(packing).feed(bomb(packing))
    assert max(len(next(pieces)) for _ in range(100)) <= 65_536


@pytest.mark.parametrize(
    "beginning",
    [b"", _HEAD, _HEAD + b"Content-Length: 100000\r\n\r\n", _HEAD + b"X-A: "],
    ids=["nothing", "status", "body", "header"],
)
async def test_a_slow_loris_ends_with_the_total_span(bench: Bench, beginning: bytes) -> None:
    began_s = time.monotonic()
    async with hostile(a=dripping(beginning)) as site:
        error = await fetch(bench, f"{site.url}/a", rules_of(site, total_timeout_s=0.3))
    assert isinstance(error, HttpFailed)
    assert error.reason in ("timeout", "broken")
    assert time.monotonic() - began_s < 3


async def test_a_silent_server_ends_with_the_read_span(bench: Bench) -> None:
    async with hostile(a=dripping(_HEAD, every_s=60)) as site:
        error = await fetch(bench, f"{site.url}/a", rules_of(site, read_timeout_s=0.1))
    assert isinstance(error, HttpFailed)
    assert "read_timeout_s = 0.1" in str(error)


async def test_a_429_that_asks_for_a_day_ends_at_once_and_the_host_is_left_alone(
    bench: Bench,
) -> None:
    async with hostile(a=too_many("Retry-After: 86400\r\n"), b=answer(b"b")) as site:
        rules = rules_of(site)
        error = await fetch(bench, f"{site.url}/a", rules)
        assert isinstance(error, HttpFailed)
        assert (error.reason, error.retry_after_s) == ("rate_limited", 86400.0)
        assert "asks to wait 86400 s" in str(error)
        again = await fetch(bench, f"{site.url}/b", rules)
        assert isinstance(again, HttpFailed)
        assert again.reason == "rate_limited"
        assert site.paths == ["/a"]


async def test_a_429_without_a_wish_is_tried_again_a_bounded_number_of_times(
    bench: Bench,
) -> None:
    async with hostile(a=too_many()) as site:
        error = await fetch(bench, f"{site.url}/a", rules_of(site, attempts_max=3))
    assert isinstance(error, HttpFailed)
    assert "answered 429, 3 times in a row" in str(error)
    assert site.paths == ["/a"] * 3


async def test_a_429_that_passes_is_answered(bench: Bench) -> None:
    conduct = in_turn(too_many("Retry-After: 0\r\n"), too_many(), answer(b"there"))
    async with hostile(a=conduct) as site:
        assert await fetch(bench, f"{site.url}/a", rules_of(site)) == (200, "there")


async def test_what_has_effects_is_sent_once(bench: Bench) -> None:
    async with hostile(a=too_many("Retry-After: 0\r\n")) as site:
        error = await fetch(bench, f"{site.url}/a", rules_of(site, methods=("POST",)), "POST")
    assert isinstance(error, HttpFailed)
    assert site.paths == ["/a"]


async def test_redirects_in_circles_end(bench: Bench) -> None:
    async with hostile(a=redirect("/b"), b=redirect("/a")) as site:
        error = await fetch(bench, f"{site.url}/a", rules_of(site, redirects_max=4))
    assert isinstance(error, HttpFailed)
    assert error.reason == "redirects"
    assert len(site.heads) == 5


BROKEN = {
    "no HTTP": b"220 smtp.example.org ESMTP\r\n",
    "nothing": b"",
    "a body cut short": _HEAD + b"Content-Length: 10\r\n\r\nabc",
    "a header without an end": _HEAD + b"X: " + b"x" * 200_000,
    "a packing that nobody asked for": _HEAD + b"Content-Encoding: br\r\n\r\nabc",
    "no gzip": _HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": _HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_is_none_is_a_clear_failure(bench: Bench, name: str) -> None:
    async with hostile(a=raw(BROKEN[name])) as site:
        error = await fetch(bench, f"{site.url}/a", rules_of(site))
    assert isinstance(error, HttpFailed), error
    assert error.reason == "broken"
    assert "request http://127.0.0.1" in str(error)
