"""Callers that stop waiting, at any moment, leave nothing half done and nothing open."""

from __future__ import annotations

import logging
import random
import time

import anyio
import pytest

from supervisor.storage.database import Database
from tests.contract.latches import put, put_then_raise, scopes
from tests.databases import Kind, RawConnection

WRITERS = 1_000


@pytest.mark.parametrize("seed", range(3))
async def test_a_cancel_fuzz_of_1000_writers_leaves_no_transaction_open(
    database: Database,
    raw: RawConnection,
    kind: Kind,
    seed: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seeded schedule, not a secret
    answered: list[str] = []
    failed: list[str] = []

    async def write(n: int) -> None:
        scope = f"worker:{n}"
        with anyio.move_on_after(chance.choice([0, 0, 0.0005, 0.005, 1])):
            await anyio.sleep(chance.random() * 0.01)
            await database.write(put_then_raise if n % 5 == 0 else put, scope)
            answered.append(scope)

    async def survive(n: int) -> None:
        try:
            await write(n)
        except ValueError as error:
            failed.append(str(error))

    async with anyio.create_task_group() as tasks:
        for n in range(WRITERS):
            tasks.start_soon(survive, n)
    begun_at = time.monotonic()
    with anyio.fail_after(5):
        await database.write(put, "system")
    took_ms = (time.monotonic() - begun_at) * 1000
    logging.getLogger(__name__).info("the next write took %.1f ms", took_ms)
    kept = set(await database.read(scopes))
    assert set(answered) < kept
    assert answered
    assert not kept & {f"worker:{n}" for n in range(0, WRITERS, 5)}
    assert all(int(scope.partition(":")[2]) % 5 == 0 for scope in failed)
    assert _nobody_holds_it(raw, kind)


def _nobody_holds_it(raw: RawConnection, kind: Kind) -> bool:
    if kind == "sqlite":
        raw.run("PRAGMA busy_timeout = 0")
        raw.run("BEGIN IMMEDIATE")
        raw.run("ROLLBACK")
        return True
    open_ones = raw.rows(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state <> 'idle'"
    )
    return open_ones == []


async def test_a_cancelled_caller_does_not_tear_its_function(database: Database) -> None:
    with anyio.CancelScope() as scope:
        future = database.write(put, "system")
        scope.cancel()
        await future
    assert scope.cancelled_caught
    await database.write(put, "worker:next")
    assert await database.read(scopes) == ["system", "worker:next"]
