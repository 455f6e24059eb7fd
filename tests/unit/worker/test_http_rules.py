"""What `ctx.http` may do, and what is on record of it."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from collections.abc import Sequence
from typing import Any

import anyio
import httpcore
import pytest

from supervisor.errors import HttpFailed, KillSwitchEngaged, RequestRefused
from supervisor.events.log import Origin
from supervisor.governance.kill_switch import KillCommand, engage, engaged
from supervisor.hands.connecting import CheckedBackend
from supervisor.hands.host_book import HostBook
from supervisor.outcome import Outcome
from supervisor.worker.context import Context
from supervisor.worker.tick import run_tick
from tests.unit.worker.conftest import UTC_ZONE, Bench
from tests.unit.worker.hostile_server import answer, dripping, hostile, redirect
from tests.unit.worker.http_bench import fetch, rules_for, rules_of

HANGING = dripping(b"", every_s=60)


async def kill(bench: Bench, scope: str) -> None:
    origin = Origin(at=bench.clock.now(), actor="me", command_id=f"kill {scope}")
    await bench.store.write(engage, KillCommand(scope=scope, why="test"), origin, UTC_ZONE)


async def test_no_host_may_be_reached_that_is_not_on_the_list(bench: Bench) -> None:
    async with hostile(a=answer(b"a")) as site:
        error = await fetch(bench, f"{site.url}/a?key=1", rules_for(private=("127.0.0.1",)))
    assert isinstance(error, RequestRefused)
    assert f'allow = ["127.0.0.1:{site.port}"] under [worker.w.http]' in str(error)
    assert site.heads == []
    (event,) = await bench.events("guardrail_tool")
    assert event["target"] == "http://127.0.0.1"


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "file:///etc/passwd", "/relative", "", "http:///path"]
)
async def test_what_is_no_url_to_reach_is_refused(bench: Bench, url: str) -> None:
    assert isinstance(await fetch(bench, url, rules_for("*:*")), RequestRefused)


async def test_a_request_and_its_end_are_on_record_without_the_query(bench: Bench) -> None:
    async with hostile(a=answer(b"there")) as site:
        assert await fetch(bench, f"{site.url}/a?token=1", rules_of(site)) == (200, "there")
    (asked,) = await bench.events("http_requested")
    assert (asked["method"], asked["url"]) == ("GET", f"{site.url}/a")
    (ended,) = await bench.events("http_ended")
    assert (ended["status"], ended["body_bytes"], ended.get("why", "")) == (200, 5, "")
    assert asked["request"] == ended["request"] == "w#1.h1"


async def test_the_caller_is_named_and_the_host_is_the_one_that_was_looked_at(
    bench: Bench,
) -> None:
    async def run(ctx: Context) -> None:
        forged = {"Host": "elsewhere.test", "User-Agent": "Mozilla/5.0"}
        await ctx.http.get(f"{site.url}/a", headers=forged)

    async with hostile(a=answer(b"")) as site:
        await run_tick(bench.kernel, await bench.plan(run, http=rules_of(site)))
    (head,) = site.heads
    assert "user-agent: test-bot/1\r\n" in head.lower()
    assert f"host: 127.0.0.1:{site.port}\r\n" in head.lower()
    assert "elsewhere" not in head
    assert "Mozilla" not in head


async def test_under_a_kill_nothing_is_sent(bench: Bench) -> None:
    async with hostile(a=answer(b"there")) as site:

        async def run(ctx: Context) -> None:
            await ctx.http.get(f"{site.url}/a")
            await kill(bench, "worker:w")
            with pytest.raises(KillSwitchEngaged):
                await ctx.http.get(f"{site.url}/a")

        end = await run_tick(bench.kernel, await bench.plan(run, http=rules_of(site)))
        assert end.outcome is Outcome.OK
        assert len(site.heads) == 1
    (refused,) = await bench.events("call_refused")
    assert refused["code"] == "kill_switch_engaged"


async def test_a_kill_ends_a_request_in_flight(bench: Bench) -> None:
    async with hostile(a=HANGING) as site:

        async def run(ctx: Context) -> None:
            await ctx.http.get(f"{site.url}/a")

        plan = await bench.plan(run, http=rules_of(site))
        outcomes: list[Outcome] = []

        async def tick() -> None:
            outcomes.append((await run_tick(bench.kernel, plan)).outcome)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            await site.arrived.wait()
            await kill(bench, "system")
            bench.kernel.in_flight.kill(await bench.store.read(engaged))
    assert outcomes == [Outcome.CANCELLED]
    (ended,) = await bench.events("http_ended")
    assert ended["why"] == "cancelled while it was in flight"


async def test_a_failure_that_is_not_caught_ends_the_tick_as_failed_and_is_no_crash(
    bench: Bench,
) -> None:
    async def run(ctx: Context) -> None:
        await ctx.http.get("http://127.0.0.1:1/")

    rules = rules_for("127.0.0.1:1")
    end = await run_tick(bench.kernel, await bench.plan(run, http=rules))
    assert end.outcome is Outcome.FAILED
    (tick,) = await bench.events("cycle_completed")
    assert tick["code"] == "http_failed"


async def test_a_stream_is_bounded_and_what_is_left_open_is_closed_by_the_tick(
    bench: Bench,
) -> None:
    async with hostile(a=answer(b"x" * 2_000_000), b=answer(b"y" * 10_000)) as site:

        async def run(ctx: Context) -> None:
            async with ctx.http.stream("GET", f"{site.url}/b") as response:
                assert await response.aread() == b"y" * 10_000
            rest = ctx.http.build_request("GET", f"{site.url}/b")
            await ctx.http.send(rest, stream=True)
            with pytest.raises(HttpFailed):
                async with ctx.http.stream("GET", f"{site.url}/a") as response:
                    await response.aread()

        end = await run_tick(bench.kernel, await bench.plan(run, http=rules_of(site)))
    assert end.outcome is Outcome.OK


async def test_a_packed_body_comes_out_as_it_was(bench: Bench) -> None:
    text = "".join(str(number) for number in range(50_000))
    raw_deflate = zlib.compressobj(wbits=-15)
    bare = raw_deflate.compress(text.encode()) + raw_deflate.flush()
    two = gzip.compress(text[:100].encode()) + gzip.compress(text[100:].encode())
    async with hostile(
        a=answer(two, headers="Content-Encoding: gzip\r\n"),
        b=answer(zlib.compress(text.encode()), headers="Content-Encoding: deflate\r\n"),
        c=answer(bare, headers="Content-Encoding: deflate\r\n"),
    ) as site:
        for path in "abc":
            assert await fetch(bench, f"{site.url}/{path}", rules_of(site)) == (200, text)


async def test_a_tick_sends_so_many_requests_and_no_more(bench: Bench) -> None:
    async with hostile(a=redirect("/a")) as site:
        error = await fetch(bench, f"{site.url}/a", rules_of(site, requests_max=3))
    assert isinstance(error, RequestRefused)
    assert (error.reason, len(site.heads)) == ("count", 3)


class Book:
    """A resolver that answers each look-up with the next of its addresses."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def __call__(self, host: str, port: int, **_: object) -> Sequence[Any]:
        return [(0, 0, 0, "", (found, port)) for found in self.answers.pop(0).split()]


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to() -> None:
    async with hostile() as inside, hostile("127.0.0.2") as listed:
        rules = rules_for("rebind.test:*", private=("127.0.0.2",))
        book = Book("127.0.0.2", "127.0.0.1 10.0.0.1", "127.0.0.1 127.0.0.2")
        backend = CheckedBackend(rules, book)
        stream = await backend.connect_tcp("rebind.test", listed.port, 1.0)
        assert stream.get_extra_info("server_addr") == ("127.0.0.2", listed.port)
        await stream.aclose()
        with pytest.raises(RequestRefused):
            await backend.connect_tcp("rebind.test", inside.port, 1.0)
        with pytest.raises(httpcore.ConnectError):
            await backend.connect_tcp("rebind.test", inside.port, 1.0)
        assert book.answers == []


def test_requests_to_a_host_take_turns_and_none_is_taken_that_comes_too_late() -> None:
    book = HostBook()
    turns = [
        book.take_turn("a", every_s=2.0, now_s=10.0, latest_s=13.0),
        book.take_turn("a", every_s=2.0, now_s=10.0, latest_s=13.0),
        book.take_turn("a", every_s=2.0, now_s=10.0, latest_s=13.0),
        book.take_turn("a", every_s=2.0, now_s=10.0, latest_s=15.0),
        book.take_turn("b", every_s=2.0, now_s=10.0, latest_s=13.0),
    ]
    assert turns == [10.0, 12.0, 14.0, 14.0, 10.0]


async def test_a_turn_that_would_come_too_late_fails_at_once(bench: Bench) -> None:
    async with hostile(a=answer(b"a")) as site:
        rules = rules_of(site, host_every_s=100.0)
        assert await fetch(bench, f"{site.url}/a", rules) == (200, "a")
        error = await fetch(bench, f"{site.url}/a", rules)
    assert isinstance(error, HttpFailed)
    assert "its turn at the host comes in" in str(error)


def test_the_daemon_does_not_import_what_no_worker_uses() -> None:
    program = (
        "import sys, supervisor.daemon\n"
        "heavy = {'httpcore', 'protego', 'supervisor.hands.client'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
