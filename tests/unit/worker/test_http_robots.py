"""`ctx.http` reads a site's robots.txt, once, and does as it says."""

from __future__ import annotations

import pytest

from supervisor.errors import HttpFailed, RequestRefused
from tests.unit.worker.conftest import Bench
from tests.unit.worker.hostile_server import answer, endless, hostile, raw, redirect
from tests.unit.worker.http_bench import fetch, rules_of

PAGE = answer(b"page")


async def test_what_the_site_forbids_is_not_read(bench: Bench) -> None:
    robots = answer(b"User-agent: *\nDisallow: /private\n")
    async with hostile(robots_txt=robots, private=PAGE, open=PAGE) as site:
        rules = rules_of(site, robots=True)
        error = await fetch(bench, f"{site.url}/private", rules)
        assert isinstance(error, RequestRefused)
        assert error.reason == "robots"
        assert await fetch(bench, f"{site.url}/open", rules) == (200, "page")
        assert site.paths == ["/robots.txt", "/open"]
    (event,) = await bench.events("guardrail_tool")
    assert "robots.txt forbids it to test-bot" in str(event["why"])


async def test_what_is_said_of_this_agent_counts(bench: Bench) -> None:
    robots = answer(b"User-agent: *\nAllow: /\n\nUser-agent: test-bot\nDisallow: /\n")
    async with hostile(robots_txt=robots, page=PAGE) as site:
        error = await fetch(bench, f"{site.url}/page", rules_of(site, robots=True))
    assert isinstance(error, RequestRefused)


async def test_a_site_without_one_forbids_nothing(bench: Bench) -> None:
    async with hostile(page=PAGE) as site:
        rules = rules_of(site, robots=True)
        assert await fetch(bench, f"{site.url}/page", rules) == (200, "page")
        assert await fetch(bench, f"{site.url}/page", rules) == (200, "page")
        assert site.paths == ["/robots.txt", "/page", "/page"]


@pytest.mark.parametrize("status", ["500 Oops", "503 Later", "429 Too Many Requests"])
async def test_a_site_that_can_not_say_is_not_read(bench: Bench, status: str) -> None:
    async with hostile(robots_txt=answer(b"", status=status), page=PAGE) as site:
        error = await fetch(bench, f"{site.url}/page", rules_of(site, robots=True))
        assert isinstance(error, RequestRefused)
        assert "could not be read" in str(error)
        assert site.paths == ["/robots.txt"]


async def test_one_that_is_elsewhere_is_read_there_within_the_rules(bench: Bench) -> None:
    there = answer(b"User-agent: *\nDisallow: /page\n")
    async with hostile(robots_txt=redirect("/r2"), r2=there, page=PAGE) as site:
        error = await fetch(bench, f"{site.url}/page", rules_of(site, robots=True))
    assert isinstance(error, RequestRefused)
    async with hostile(r=answer(b"")) as other:
        away = redirect(f"http://localhost:{other.port}/r")
        async with hostile(robots_txt=away, page=PAGE) as site:
            error = await fetch(bench, f"{site.url}/page", rules_of(site, robots=True))
        assert isinstance(error, RequestRefused)
        assert other.heads == []


async def test_one_without_an_end_is_read_up_to_its_bound(bench: Bench) -> None:
    long = endless(chunk=b"User-agent: *\nDisallow: /page\n" * 1_000)
    async with hostile(robots_txt=long, page=PAGE) as site:
        error = await fetch(bench, f"{site.url}/page", rules_of(site, robots=True))
    assert isinstance(error, RequestRefused)
    assert "forbids" in str(error)


@pytest.mark.parametrize("body", [b"\x00\xff\xfe" * 1_000, b"<html>not found</html>", b""])
async def test_one_that_is_none_forbids_nothing(bench: Bench, body: bytes) -> None:
    async with hostile(robots_txt=answer(body), page=PAGE) as site:
        assert await fetch(bench, f"{site.url}/page", rules_of(site, robots=True)) == (200, "page")


async def test_what_breaks_off_is_not_taken_for_a_yes(bench: Bench) -> None:
    async with hostile(robots_txt=raw(b"HTTP/1.1 200"), page=PAGE) as site:
        error = await fetch(bench, f"{site.url}/page", rules_of(site, robots=True))
    assert isinstance(error, RequestRefused)


async def test_the_delay_that_a_site_asks_for_is_kept(bench: Bench) -> None:
    robots = answer(b"User-agent: *\nCrawl-delay: 100\n")
    async with hostile(robots_txt=robots, page=PAGE) as site:
        rules = rules_of(site, robots=True)
        assert await fetch(bench, f"{site.url}/page", rules) == (200, "page")
        error = await fetch(bench, f"{site.url}/page", rules)
    assert isinstance(error, HttpFailed)
    assert "its turn at the host comes in" in str(error)


async def test_a_delay_of_years_is_kept_for_a_day(bench: Bench) -> None:
    robots = answer(b"User-agent: *\nCrawl-delay: 1000000000\n")
    async with hostile(robots_txt=robots, page=PAGE) as site:
        rules = rules_of(site, robots=True)
        assert await fetch(bench, f"{site.url}/page", rules) == (200, "page")
        error = await fetch(bench, f"{site.url}/page", rules)
    assert isinstance(error, HttpFailed)
    assert "its turn at the host comes in 86400 s" in str(error)
