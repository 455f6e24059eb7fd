"""What a store that is closed while it is written to owes to those who write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from supervisor.errors import StoreUnavailable
from supervisor.storage.database import Database
from supervisor.storage.group_commit import BATCH_MAX
from tests.contract.latches import put, scopes
from tests.contract.site import Site

WRITERS = 8


async def test_a_close_answers_first_whatever_was_queued_before_it(site: Site) -> None:
    database = await site.open()
    writes = [
        asyncio.ensure_future(database.write(put, f"worker:{n}")) for n in range(2 * BATCH_MAX + 9)
    ]
    with anyio.fail_after(20):
        await database.close()
    assert [write.result() for write in writes] == [None] * len(writes)
    again = await site.open()
    assert len(await again.read(scopes)) == len(writes)
    await again.close()


async def test_a_close_does_not_wait_for_those_who_go_on_writing(site: Site) -> None:
    database = await site.open()
    is_well_begun = anyio.Event()
    refused: list[StoreUnavailable] = []

    async def write_for_ever(name: str) -> None:
        written = 0
        try:
            while True:
                await database.write(put, name)
                written += 1
                if written == 10:
                    is_well_begun.set()
        except StoreUnavailable as error:
            refused.append(error)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for n in range(WRITERS):
                tasks.start_soon(write_for_ever, f"worker:{n}")
            await is_well_begun.wait()
            await database.close()
    assert {error.what for error in refused} == {"is closed; nothing was written"}
    assert len(refused) == WRITERS


async def _write(database: Database) -> None:
    await database.write(put, "system")


async def _read(database: Database) -> None:
    await database.read(scopes)


@pytest.mark.parametrize("ask", [_write, _read])
@pytest.mark.parametrize("has_read", [False, True])
async def test_a_closed_store_refuses_and_keeps_nobody_waiting(
    site: Site, ask: Callable[[Database], Awaitable[None]], has_read: bool
) -> None:
    database = await site.open()
    if has_read:
        await database.read(scopes)
    await database.close()
    with anyio.fail_after(5), pytest.raises(StoreUnavailable, match="is closed"):
        await ask(database)
