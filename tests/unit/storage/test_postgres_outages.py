"""A server that restarts, dies, or can't be reached: nothing waits for ever, and it comes back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator

import anyio
import pytest

from supervisor.errors import StoreUnavailable
from supervisor.storage.database import Transaction
from supervisor.storage.postgres import PostgresDatabase
from supervisor.storage.postgres_commit import Patience
from supervisor.storage.postgres_open import open_postgres
from tests.databases import RawConnection
from tests.postgres_server import PostgresServer
from tests.unit.storage.counted_ticks import Writers, count, counts
from tests.unit.storage.cut_network import Network


@pytest.fixture(scope="module")
def server(postgres_url: str) -> Iterator[PostgresServer]:
    """A server of this module's own, to be stopped and killed."""
    made = PostgresServer(in_memory=True)
    made.start()
    yield made
    made.remove()


@pytest.fixture
def own_url(server: PostgresServer) -> str:
    """An empty database on it."""
    name = f"d{time.monotonic_ns()}"
    admin = RawConnection(server.url)
    admin.run(f"CREATE DATABASE {name}")
    admin.close()
    return server.url.removesuffix("postgres") + name


@pytest.fixture
async def own(own_url: str) -> AsyncIterator[PostgresDatabase]:
    """The store on it, open."""
    database = await open_postgres(own_url, now_us=1, is_read_only=False)
    yield database
    await database.close()


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.kill])
async def test_a_server_that_restarts_in_the_middle_loses_and_doubles_nothing(
    own: PostgresDatabase, server: PostgresServer, end: Callable[[PostgresServer], None]
) -> None:
    chance = random.Random(1)  # noqa: S311 - a seeded schedule, not a secret
    writers = Writers(own, 16)
    for _ in range(3):
        await asyncio.sleep(0.2 + chance.random() * 0.2)
        await asyncio.to_thread(end, server)
        await asyncio.to_thread(server.start)
    await asyncio.sleep(0.2)
    await writers.stop()
    await writers.check()
    assert writers.answered


async def test_a_server_that_is_gone_is_an_error_within_a_bound_and_serves_again_at_once(
    own: PostgresDatabase, server: PostgresServer
) -> None:
    assert await own.write(count, "w") == 1
    await asyncio.to_thread(server.stop)
    begun_at = time.monotonic()
    answers = await asyncio.gather(
        *(own.write(count, "w") for _ in range(600)), return_exceptions=True
    )
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert "nothing was written" in str(answers[0])
    with pytest.raises(StoreUnavailable):
        await own.read(counts)
    # One wait for all of them, not one for each batch.
    assert time.monotonic() - begun_at < 8
    assert own.write_failures() > 2
    await asyncio.to_thread(server.start)
    assert await own.read(counts) == {"w": 1}
    assert await own.write(count, "w") == 2


async def test_closing_a_store_whose_server_is_gone_ends(
    own_url: str, server: PostgresServer
) -> None:
    database = await open_postgres(own_url, now_us=1, is_read_only=False)
    await database.read(counts)
    await asyncio.to_thread(server.stop)
    try:
        with anyio.fail_after(10):
            await database.close()
    finally:
        await asyncio.to_thread(server.start)


async def test_a_store_that_was_closed_says_so_and_nobody_waits_for_it(own_url: str) -> None:
    database = await open_postgres(own_url, now_us=1, is_read_only=False)
    await database.close()
    with anyio.fail_after(5):
        with pytest.raises(StoreUnavailable, match="is closed"):
            await database.write(count, "w")
        with pytest.raises(StoreUnavailable, match="is closed"):
            await database.read(counts)


async def test_a_network_that_swallows_everything_is_an_error_within_a_bound(
    database: PostgresDatabase, network: Network
) -> None:
    await database.write(count, "w")
    await database.read(counts)
    await shorten(database, 0.3)
    network.freeze()
    with anyio.fail_after(30):
        with pytest.raises(StoreUnavailable):
            await database.write(count, "w")
        with pytest.raises(StoreUnavailable):
            await database.read(counts)
    network.thaw()
    assert await database.write(count, "after") == 1
    assert await database.read(counts) == {"w": 1, "after": 1}


async def shorten(database: PostgresDatabase, answer_s: float) -> None:
    """Let both sessions wait for an answer for a moment, instead of some seconds."""
    assert database._committer is not None
    assert database._writer is not None
    database._committer._patience = Patience(limit_s=answer_s)
    for link in (database._writer, database._reader):
        await link.submit(lambda link: setattr(link.connected(), "answer_s", answer_s))


async def test_a_reader_whose_session_was_ended_reads_on(
    database: PostgresDatabase, direct_url: str
) -> None:
    assert await database.read(counts) == {}
    end_readers(direct_url)
    assert await database.read(counts) == {}


async def test_a_reader_that_is_ended_in_the_middle_is_told_and_the_next_one_reads(
    database: PostgresDatabase, direct_url: str
) -> None:
    runs = 0

    def ended(tx: Transaction) -> dict[str, int]:
        nonlocal runs
        runs += 1
        counts(tx)
        end_readers(direct_url)
        return counts(tx)

    with pytest.raises(StoreUnavailable):
        await database.read(ended)
    # A function that reads may have told of it: it is not run a second time unasked.
    assert runs == 1
    assert await database.read(counts) == {}


def end_readers(url: str) -> None:
    other = RawConnection(url)
    ended = other.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
        " datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name LIKE '% reader'"
    )
    other.close()
    assert ended


async def test_one_that_can_not_listen_looks_each_time_until_it_hears_again(
    database: PostgresDatabase, network: Network, direct_url: str
) -> None:
    listening = database._listening
    assert listening is not None
    listening.poll_s = 3600.0
    assert not await database.has_foreign_commits()
    await network.break_down()
    await asyncio.sleep(0.05)
    for _ in range(3):
        assert await database.has_foreign_commits()
    await network.restore()
    with anyio.fail_after(10):
        while await database.has_foreign_commits():  # noqa: ASYNC110 - it is what is asked for
            await asyncio.sleep(0.05)
    other = await open_postgres(direct_url, now_us=1, is_read_only=False)
    await other.write(count, "w")
    await asyncio.sleep(0.2)
    assert await database.has_foreign_commits()
    assert not await database.has_foreign_commits()
    await other.close()


async def test_without_a_word_it_looks_once_in_a_while(database: PostgresDatabase) -> None:
    listening = database._listening
    assert listening is not None
    listening.poll_s = 0.05
    looked = 0
    for _ in range(30):
        looked += await database.has_foreign_commits()
        await asyncio.sleep(0.01)
    assert 2 <= looked < 20
