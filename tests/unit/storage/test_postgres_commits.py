"""A commit is done once and answered by what became of it, whatever breaks meanwhile."""

from __future__ import annotations

import asyncio
import random
import time

import psycopg
import pytest

from supervisor.errors import StoreUnavailable
from supervisor.storage.database import Transaction
from supervisor.storage.postgres import PostgresDatabase
from supervisor.storage.postgres_commit import Patience
from supervisor.storage.postgres_open import open_postgres
from tests.databases import RawConnection
from tests.unit.storage.counted_ticks import Writers, count, counts
from tests.unit.storage.cut_network import Cut, Network


def be_impatient(database: PostgresDatabase) -> None:
    """Let the store give up a lost connection after a moment, instead of 5 s."""
    assert database._committer is not None
    database._committer._patience = Patience(limit_s=0.3)


@pytest.mark.parametrize("cut", Cut)
async def test_a_commit_whose_answer_is_lost_is_done_once_and_answered(
    database: PostgresDatabase, network: Network, cut: Cut
) -> None:
    heard: list[object] = []
    runs = 0
    database.listen(heard.extend)

    def counted(tx: Transaction, name: str) -> int:
        nonlocal runs
        runs += 1
        return count(tx, name)

    network.cut = cut
    answers = await asyncio.gather(*(database.write(counted, f"w{n % 2}") for n in range(4)))
    assert answers == [1, 1, 2, 2]
    assert network.has_cut.is_set()
    assert heard == ["w0", "w1", "w0", "w1"]
    assert await database.read(counts) == {"w0": 2, "w1": 2}
    # What was kept is found out, not done again.
    assert runs == (4 if cut is Cut.AFTER else 8)
    assert await database.write(count, "w0") == 3


async def test_a_commit_that_can_not_be_found_out_says_that_it_is_unknown(
    database: PostgresDatabase, network: Network
) -> None:
    be_impatient(database)
    network.cut, network.is_down_after_cut = Cut.AFTER, True
    with pytest.raises(StoreUnavailable, match="whose outcome is unknown"):
        await database.write(count, "w")
    assert database.write_failures() == 1
    await network.restore()
    assert await database.read(counts) == {"w": 1}
    assert await database.write(count, "w") == 2


async def test_a_connection_that_is_lost_before_the_commit_leaves_nothing(
    database: PostgresDatabase, network: Network
) -> None:
    be_impatient(database)
    await database.write(count, "before")
    network.cut, network.at, network.is_down_after_cut = Cut.BEFORE, b"BEGIN", True
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        await database.write(count, "w")
    await network.restore()
    assert await database.read(counts) == {"before": 1}
    assert await database.write(count, "w") == 1


async def test_a_writer_that_is_ended_inside_its_transaction_runs_again(
    database: PostgresDatabase, direct_url: str
) -> None:
    other = RawConnection(direct_url)
    runs = 0

    def ended_once(tx: Transaction) -> int:
        nonlocal runs
        runs += 1
        number = count(tx, "w")
        if runs == 1:
            end_backends(other, "idle in transaction")
        return number

    assert await database.write(ended_once) == 1
    assert runs == 2
    assert await database.read(counts) == {"w": 1}
    other.close()


@pytest.mark.parametrize(
    "conflict", [psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected]
)
async def test_a_transaction_in_conflict_runs_again_up_to_a_bound(
    database: PostgresDatabase, conflict: type[psycopg.Error]
) -> None:
    runs = 0

    def in_conflict(tx: Transaction, times: int) -> int:
        nonlocal runs
        runs += 1
        number = count(tx, "w")
        if runs <= times:
            raise conflict
        return number

    assert await database.write(in_conflict, 3) == 1
    assert runs == 4
    runs = 0
    with pytest.raises(StoreUnavailable):
        await database.write(in_conflict, 1000)
    assert runs < 20
    assert await database.write(count, "w") == 2


async def test_a_member_that_breaks_a_rule_fails_alone(database: PostgresDatabase) -> None:
    def broken(tx: Transaction) -> None:
        count(tx, "broken")
        tx.run("ledger.set_limit", id="none", limit_amount="no number")

    tries = [database.write(count, "w") if n % 3 else database.write(broken) for n in range(12)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if isinstance(answer, psycopg.DataError)] == [
        0,
        3,
        6,
        9,
    ]
    assert [answer for answer in answers if isinstance(answer, int)] == list(range(1, 9))
    assert await database.read(counts) == {"w": 8}


async def test_a_member_that_goes_on_after_a_broken_statement_is_never_answered_as_done(
    database: PostgresDatabase,
) -> None:
    def careless(tx: Transaction) -> str:
        try:
            tx.run("ledger.set_limit", id="none", limit_amount="no number")
        except psycopg.DataError:
            return "done"
        return "not reached"

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await database.write(careless)
    assert await database.write(count, "w") == 1


@pytest.mark.parametrize("seed", range(3))
async def test_with_connections_killed_at_random_each_answered_write_is_there_once(
    direct_url: str, seed: int
) -> None:
    database = await open_postgres(direct_url, now_us=1, is_read_only=False)
    chance = random.Random(seed)  # noqa: S311 - a seeded schedule, not a secret
    other = RawConnection(direct_url)
    writers = Writers(database, 24)
    ended = 0
    while ended < 30:
        await asyncio.sleep(chance.random() * 0.1)
        ended += await asyncio.to_thread(end_backends, other, "%")
    await writers.stop()
    other.close()
    await writers.check()
    assert writers.answered
    await database.close()


def end_backends(other: RawConnection, state: str) -> int:
    """End the sessions of the store that are in a certain state, and return how many."""
    return len(
        other.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
            " datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend' AND state LIKE ?",
            state,
        )
    )


async def test_marks_of_writers_that_are_gone_are_removed(
    database: PostgresDatabase, direct_url: str
) -> None:
    other = RawConnection(direct_url)
    await database.write(count, "w")
    assert len(other.rows("SELECT writer FROM commit_marks")) == 1
    second = await open_postgres(direct_url, now_us=1, is_read_only=False)
    await second.write(count, "w")
    assert len(other.rows("SELECT writer FROM commit_marks")) == 2
    await second.close()
    assert len(other.rows("SELECT writer FROM commit_marks")) == 1
    other.run("INSERT INTO commit_marks VALUES ('dead', 1, now() - INTERVAL '2 days')")
    third = await open_postgres(direct_url, now_us=1, is_read_only=False)
    await third.close()
    assert other.rows("SELECT writer FROM commit_marks WHERE writer = 'dead'") == []
    assert await database.write(count, "w") == 3
    other.close()


async def test_a_silent_writer_gives_the_lock_up_before_the_others_give_up(
    database: PostgresDatabase, network: Network, direct_url: str
) -> None:
    second = await open_postgres(direct_url, now_us=1, is_read_only=False)
    network.cut, network.at = Cut.HALF, b"workers"
    stuck = asyncio.ensure_future(database.write(count, "w"))
    await network.has_cut.wait()
    begun_at = time.monotonic()
    assert await second.write(count, "other") == 1
    assert time.monotonic() - begun_at < 5
    assert await stuck == 1
    await second.close()
