"""Two daemons on one store: what one commits, the other can't do again or go beyond."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from supervisor.errors import BudgetExceeded, StoreUnavailable
from supervisor.events.log import EventRow, Journal, Origin, chain_row
from supervisor.governance.audit import audit
from supervisor.governance.kill_switch import KillCommand, Latched, engage, engaged
from supervisor.governance.rotation import adopt_or_rotate
from supervisor.ledger import ledger
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.holds import Hold, HoldRequest, find_account
from supervisor.storage.database import Database, Transaction
from tests.conftest import START
from tests.contract.latches import LatchRow, put
from tests.contract.site import Site
from tests.contract.test_schema import PLAN
from tests.databases import RawConnection
from tests.unit.ledger.test_ledger import DAY, budgets

ORIGIN = Origin(at=START, actor="t")


@pytest.fixture
async def pair(database: Database, site: Site) -> AsyncIterator[tuple[Database, Database]]:
    """The store, opened twice."""
    other = await site.open()
    yield database, other
    await other.close()


def reserve(tx: Transaction, session_id: str, hold_id: str, cost: int) -> Hold | BudgetExceeded:
    request = HoldRequest(
        id=hold_id,
        boot_id="b",
        worker="w",
        session_id=session_id,
        tick=1,
        model="p/m",
        what="",
        amounts=Amounts(cost=cost, actions=1),
    )
    with Journal(tx, session_id, ORIGIN) as journal:
        return ledger.reserve(tx, journal, request, budgets())


def events_after(tx: Transaction, position: int) -> list[EventRow]:
    return tx.rows("audit.events", EventRow, after=position)


async def session_of(database: Database) -> str:
    session = await database.write(adopt_or_rotate, PLAN, ORIGIN)
    assert session is not None
    return session.id


def add_one(tx: Transaction) -> int:
    """Read a number, and write what is read plus one: lost where two do it at once."""
    row = tx.row("governance.latch", LatchRow, scope="worker:w")
    number = 1 if row is None else int(row.why) + 1
    put(tx, "worker:w", str(number))
    return number


async def test_transactions_run_as_if_one_after_the_other(
    pair: tuple[Database, Database],
) -> None:
    numbers = [await asyncio.gather(*(one.write(add_one) for one in pair)) for _ in range(100)]
    assert sorted(number for both in numbers for number in both) == list(range(1, 201))


async def test_two_that_write_to_one_session_at_once_both_get_their_place(
    pair: tuple[Database, Database],
) -> None:
    async def kill(number: int) -> Latched:
        command = KillCommand(scope=f"worker:w{number}", why="a test")
        origin = Origin(at=START, actor="ann", command_id=f"c{number}")
        return await pair[number % 2].write(engage, command, origin, PLAN.timezone)

    for first in range(0, 40, 2):
        await asyncio.gather(kill(first), kill(first + 1))
    assert len(await pair[0].read(engaged)) == 40
    assert (await pair[0].read(audit)).findings == ()


async def test_the_cap_holds_exactly_under_two_daemons_of_64_callers_each(
    pair: tuple[Database, Database],
) -> None:
    session_id = await session_of(pair[0])

    async def call(number: int) -> Hold | BudgetExceeded | StoreUnavailable:
        try:
            return await pair[number % 2].write(reserve, session_id, f"h{number}", 10_000)
        except StoreUnavailable as error:  # SQLite: the other had it locked for 5 s
            return error

    answers = await asyncio.gather(*(call(number) for number in range(128)))
    kinds = Counter(type(answer) for answer in answers)
    assert kinds[Hold] == 100
    account = await pair[0].read(find_account, DAY)
    assert account is not None
    assert (account.held, account.free) == (1_000_000, 0)
    refusals = [answer for answer in answers if isinstance(answer, BudgetExceeded)]
    assert {refusal.account for refusal in refusals} == {DAY}


async def test_the_same_command_from_two_daemons_is_done_once(
    pair: tuple[Database, Database],
) -> None:
    session_id = await session_of(pair[0])
    holds = await asyncio.gather(
        *(pair[n % 2].write(reserve, session_id, f"h{n // 4}", 10_000) for n in range(40))
    )
    assert len({hold.id for hold in holds if isinstance(hold, Hold)}) == 10
    account = await pair[1].read(find_account, DAY)
    assert account is not None
    assert account.held == 100_000


async def test_the_log_is_one_chain_without_a_gap_whoever_writes(
    pair: tuple[Database, Database], raw: RawConnection
) -> None:
    session_id = await session_of(pair[0])
    writes = (pair[n % 2].write(reserve, session_id, f"h{n}", 1) for n in range(200))
    await asyncio.gather(*writes)
    rows = await pair[0].read(events_after, 0)
    chain = [row for row in rows if row.session_id == session_id]
    assert [row.seq for row in chain] == list(range(1, len(chain) + 1))
    digest = b""
    for row in chain:
        digest = chain_row(digest, row)
        assert digest == row.hash
    # Positions are in the order of the commits, so that a reader which goes on from the last one
    # that it has seen misses none.
    assert [row.position for row in rows] == sorted(row.position for row in rows)
    assert len(rows) == len(raw.rows("SELECT position FROM events"))
    assert (await pair[1].read(audit)).findings == ()


async def test_a_reader_that_follows_the_log_misses_no_event(
    pair: tuple[Database, Database],
) -> None:
    session_id = await session_of(pair[0])
    done = False
    seen: list[int] = []

    async def follow() -> None:
        while True:
            last = done
            after = seen[-1] if seen else 0
            rows = await pair[0].read(events_after, after)
            seen.extend(row.position for row in rows)
            if last:
                return

    following = asyncio.ensure_future(follow())
    for turn in range(20):
        ids = [f"h{turn}.{n}" for n in range(10)]
        await asyncio.gather(
            *(pair[n % 2].write(reserve, session_id, name, 1) for n, name in enumerate(ids))
        )
    done = True
    await following
    rows = await pair[0].read(events_after, 0)
    assert seen == [row.position for row in rows]


async def test_a_kill_of_one_is_there_for_the_next_transaction_of_the_other(
    pair: tuple[Database, Database],
) -> None:
    command = KillCommand(scope="system", why="a test")
    origin = Origin(at=START + timedelta(seconds=1), actor="ann", command_id="c1")
    first = await pair[0].write(engage, command, origin, PLAN.timezone)
    assert isinstance(first, Latched)
    assert [latch.scope for latch in await pair[1].write(engaged)] == ["system"]
    assert [latch.scope for latch in await pair[1].read(engaged)] == ["system"]
    assert await pair[1].write(engage, command, origin, PLAN.timezone) == first
