"""What a reader sees, and in which form."""

from __future__ import annotations

import asyncio
import tracemalloc

import msgspec
import pytest

from supervisor.errors import StoreUnavailable
from supervisor.events.log import EventRow
from supervisor.ledger.accounts import Amounts
from supervisor.storage.database import Database, Transaction
from tests.contract.latches import LatchRow, put, scopes
from tests.databases import RawConnection

FILTERS = ("session_id", "worker", "kind", "correlation_id", "since")
MANY = 20_000


class Position(msgspec.Struct, frozen=True):
    key: int


def add_events(tx: Transaction, number: int, *, payload: str = "{}") -> None:
    """Write a session with events whose content does not matter."""
    tx.run(
        "sessions.open",
        id="w@1",
        worker="w",
        window_start=1,
        window_end=2,
        execution_mode="live",
        now=1,
        received_note="",
    )
    for seq in range(1, number + 1):
        tx.run(
            "events.append",
            session_id="w@1",
            seq=seq,
            at=seq,
            kind="odd" if seq % 2 else "even",
            actor="t",
            correlation_id="",
            command_id="",
            state_bearing=seq % 3 == 0,
            payload=payload,
            hash=b"\x00\xff\n",
        )


def page(tx: Transaction, /, **filters: str | int) -> list[EventRow]:
    wanted = {name: filters.get(name) for name in FILTERS}
    return tx.rows("events.after", EventRow, position=0, rows_max=100, **wanted)


async def test_a_filter_that_is_none_lets_all_rows_through(database: Database) -> None:
    await database.write(add_events, 10)
    assert len(await database.read(page)) == 10
    assert len(await database.read(page, kind="odd", since=4)) == 3
    assert len(await database.read(page, worker="w", session_id="w@1", correlation_id="")) == 10
    assert await database.read(page, worker="v") == []


async def test_values_come_back_as_they_went_in(database: Database) -> None:
    text = "ä 𝄞 %s %(x)s :name '' \" \\ \n\t?"
    await database.write(add_events, 3, payload=text)
    row = (await database.read(page))[2]
    assert (row.payload, row.hash, row.state_bearing, row.at) == (text, b"\x00\xff\n", True, 3)
    await database.write(put, "worker:b")
    await database.write(put, "worker:B")
    await database.write(put, "worker:_", text)
    await database.write(put, "worker:ä")

    def latches(tx: Transaction) -> list[LatchRow]:
        return tx.rows("governance.engaged_latches", LatchRow)

    stored = await database.read(latches)
    # By bytes: neither the language of a database nor its version decides an order.
    assert [row.scope for row in stored] == ["worker:B", "worker:_", "worker:b", "worker:ä"]
    assert stored[1].why == text


NUL, MARK, END = "\x00", "\ufdd0", "\ufdd1"


@pytest.mark.parametrize(
    "text", ["", NUL, f"a{NUL}b{NUL}", MARK, MARK + END, MARK + NUL, MARK * 2 + END + NUL, END]
)
async def test_every_text_comes_back_as_it_went_in_also_as_a_name(
    database: Database, text: str
) -> None:
    await database.write(put, f"worker:{text}", text)
    await database.write(put, "worker:other", "other")

    def latch(tx: Transaction, scope: str) -> LatchRow | None:
        return tx.row("governance.latch", LatchRow, scope=scope)

    found = await database.read(latch, f"worker:{text}")
    assert found is not None
    assert (found.scope, found.why) == (f"worker:{text}", text)
    rows = await database.read(lambda tx: tx.rows("governance.engaged_latches", LatchRow))
    assert {row.scope: row.why for row in rows} == {f"worker:{text}": text, "worker:other": "other"}
    await database.write(add_events, 1, payload=text)
    assert [row.payload for row in await database.read(list_events)] == [text]


def list_events(tx: Transaction) -> list[EventRow]:
    return list(tx.each("audit.events", EventRow, after=0))


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, 40_000, -40_000, 3_000_000_000])
async def test_numbers_of_64_bits_come_back_whole(database: Database, number: int) -> None:
    def write(tx: Transaction) -> None:
        tx.run("governance.set_latch", scope="s", is_engaged=1, actor="", why="", now=number)

    await database.write(write)

    class Latch(msgspec.Struct):
        at: int

    row = await database.read(lambda tx: tx.row("governance.latch", Latch, scope="s"))
    assert row is not None
    assert row.at == number


async def test_sums_are_whole_numbers_and_zero_where_there_is_nothing(database: Database) -> None:
    names = ("worker", "model", "session_id", "org", "team", "user", "conversation")
    everybody = dict.fromkeys(names)
    used = await database.read(
        lambda tx: tx.row("ledger.used_by_scope", Amounts, since=0, **everybody)
    )
    assert used == Amounts()
    assert isinstance(used.cost, int)


async def test_a_row_that_is_not_there_is_none_and_none_changed_is_zero(
    database: Database,
) -> None:
    assert await database.read(lambda tx: tx.row("governance.latch", LatchRow, scope="x")) is None
    assert await database.write(lambda tx: tx.run("governance.set_latch", **_latch("x"))) == 1
    assert await database.write(lambda tx: tx.run("sessions.hand_off", id="none", note="")) == 0


def _latch(scope: str) -> dict[str, str | int | bool]:
    return {"scope": scope, "is_engaged": False, "actor": "t", "why": "", "now": 1}


async def test_a_stream_holds_few_rows_in_memory_and_lets_others_read_beside_it(
    database: Database,
) -> None:
    payload = "x" * 500
    await database.write(add_events, MANY, payload=payload)

    def stream(tx: Transaction) -> tuple[int, int]:
        tracemalloc.start()
        number = 0
        for row in tx.each("audit.events", EventRow, after=0):
            number += 1
            if row.seq % 5_000 == 0:
                head = tx.row("audit.next_event", Position, after=row.position)
                assert (head is None) == (row.seq == MANY)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return number, peak

    number, peak_bytes = await database.read(stream)
    assert number == MANY
    assert peak_bytes < MANY * len(payload) / 4


async def test_a_stream_that_is_left_early_hinders_nothing(database: Database) -> None:
    await database.write(add_events, 2_000)

    def first(tx: Transaction) -> int:
        for row in tx.each("audit.events", EventRow, after=0):
            return row.seq
        raise AssertionError("no events")

    assert await database.read(first) == 1
    assert await database.read(first) == 1
    assert await database.write(first) == 1


async def test_a_reader_sees_one_snapshot_and_never_waits_for_a_writer(database: Database) -> None:
    await database.write(put, "system")
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(tx: Transaction) -> None:
        put(tx, "worker:slow")
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(timeout=10)

    writing = asyncio.ensure_future(database.write(slow))
    await entered.wait()
    assert await database.read(scopes) == ["system"]
    leave.set()
    await writing
    assert await database.read(scopes) == ["system", "worker:slow"]


async def test_a_read_keeps_its_snapshot_while_others_commit(database: Database) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def twice(tx: Transaction) -> tuple[list[str], list[str]]:
        before = scopes(tx)
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(timeout=10)
        return before, scopes(tx)

    reading = asyncio.ensure_future(database.read(twice))
    await entered.wait()
    await database.write(put, "system")
    leave.set()
    assert await reading == ([], [])
    assert await database.read(scopes) == ["system"]


async def test_a_read_changes_nothing(database: Database, raw: RawConnection) -> None:
    with pytest.raises(StoreUnavailable):
        await database.read(put, "system")
    assert raw.rows("SELECT scope FROM kill_latches") == []
    assert await database.read(scopes) == []


async def test_a_read_that_raises_leaves_the_next_one_well(database: Database) -> None:
    def broken(tx: Transaction) -> None:
        scopes(tx)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.read(broken)
    assert await database.read(scopes) == []
