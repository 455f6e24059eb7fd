"""What a store remembers between its transactions never hides what somebody else has done."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from supervisor.errors import BudgetExceeded, CommandConflict, KillSwitchEngaged, SessionNotActive
from supervisor.events.log import Origin
from supervisor.governance.audit import audit
from supervisor.governance.kill_switch import KillCommand, engage
from supervisor.governance.rotation import open_session_of, pause_session
from supervisor.ledger.holds import Hold, balances_of, find_account, find_hold, keep_moves
from supervisor.outcome import Outcome
from supervisor.storage import memory
from supervisor.storage.database import Database, Transaction
from supervisor.storage.memory import Later
from supervisor.worker.context import Context
from supervisor.worker.tick import run_tick
from tests.conftest import START
from tests.contract.site import Site
from tests.contract.test_schema import HOLD, PLAN
from tests.contract.test_two_writers import reserve, session_of
from tests.databases import BROKEN_RULES, RawConnection
from tests.unit.ledger.test_ledger import DAY
from tests.unit.worker.conftest import Bench

LIMIT = 1_000_000
#: What the scripted model's answer costs.
CALL = 3


async def call(ctx: Context) -> None:
    await ctx.model.complete("x", max_tokens=100)


async def kill(site: Site, scope: str) -> None:
    """Engage a kill as `supervisor kill` does: by a connection of its own."""
    other = await site.open()
    command, origin = (
        KillCommand(scope=scope, why="a test"),
        Origin(at=START, actor="ann", command_id=f"kill {scope}"),
    )
    await other.write(engage, command, origin, PLAN.timezone)
    await other.close()


async def test_a_kill_by_another_process_refuses_the_next_tick(bench: Bench, site: Site) -> None:
    plan = await bench.plan(call)
    assert (await run_tick(bench.kernel, plan)).outcome is Outcome.OK
    assert (await run_tick(bench.kernel, plan)).outcome is Outcome.OK
    await kill(site, "worker:w")
    end = await run_tick(bench.kernel, plan)
    assert isinstance(end.refusal, KillSwitchEngaged)


async def test_a_kill_by_another_process_refuses_the_next_call(bench: Bench, site: Site) -> None:
    async def calls(ctx: Context) -> None:
        # The first opens the accounts, and only from the second on is nothing read.
        await call(ctx)
        await call(ctx)
        await kill(site, "system")
        await call(ctx)

    end = await run_tick(bench.kernel, await bench.plan(calls))
    assert isinstance(end.refusal, KillSwitchEngaged)
    assert (await bench.day()).used == 2 * CALL


async def test_a_pause_by_another_process_refuses_the_next_tick(bench: Bench, site: Site) -> None:
    plan = await bench.plan(call)
    assert (await run_tick(bench.kernel, plan)).outcome is Outcome.OK

    def pause(tx: Transaction) -> None:
        session = open_session_of(tx, "w")
        assert session is not None
        pause_session(tx, session, Origin(at=START, actor="ann"), why="a person")

    other = await site.open()
    await other.write(pause)
    await other.close()
    end = await run_tick(bench.kernel, plan)
    assert isinstance(end.refusal, SessionNotActive)


async def test_what_another_process_has_used_is_not_there_to_be_used_again(
    database: Database, site: Site
) -> None:
    session_id = await session_of(database)
    assert isinstance(await database.write(reserve, session_id, "a", 10_000), Hold)
    other = await site.open()
    assert isinstance(await other.write(reserve, session_id, "b", LIMIT - 10_000), Hold)
    assert isinstance(await database.write(reserve, session_id, "c", 1), BudgetExceeded)
    assert isinstance(await other.write(reserve, session_id, "d", 1), BudgetExceeded)
    await other.close()
    account = await database.read(find_account, DAY)
    assert account is not None
    assert (account.held, account.overrun) == (LIMIT, 0)


@pytest.mark.parametrize(
    ("change", "held_max"),
    [
        ("UPDATE accounts SET settled = limit_amount - held", 0),
        ("UPDATE accounts SET settled = settled + 500000", LIMIT - 500_000 - 10_000),
        ("UPDATE accounts SET held = held + 500000", LIMIT - 500_000 - 10_000),
    ],
)
async def test_a_balance_that_somebody_else_has_changed_is_the_one_that_counts(
    database: Database, raw: RawConnection, change: str, held_max: int
) -> None:
    session_id = await session_of(database)
    await database.write(reserve, session_id, "a", 10_000)
    raw.run(f"{change} WHERE id = '{DAY}'")
    assert isinstance(await database.write(reserve, session_id, "b", held_max + 1), BudgetExceeded)
    assert isinstance(await database.write(reserve, session_id, "c", held_max), Hold)


async def test_a_tick_that_somebody_else_has_ended_is_not_ended_again(
    bench: Bench, raw: RawConnection
) -> None:
    async def ended_by_others(ctx: Context) -> None:
        raw.run("UPDATE ticks SET outcome = 'recovered', ended_at = 1 WHERE worker = 'w'")

    await run_tick(bench.kernel, await bench.plan(ended_by_others))
    assert raw.rows("SELECT outcome FROM ticks") == [("recovered",)]
    assert await bench.events("cycle_completed") == []


async def test_an_id_that_somebody_else_has_taken_is_no_second_hold(
    bench: Bench, raw: RawConnection
) -> None:
    async def taken_by_others(ctx: Context) -> None:
        await call(ctx)
        raw.run(HOLD, "w#1.2", ctx.session.id, 0, "settled", 2)
        await call(ctx)

    plan = await bench.plan(taken_by_others)
    with pytest.raises(Exception, match="w") as raised:
        await run_tick(bench.kernel, plan)
    assert isinstance(raised.value.__cause__, CommandConflict)
    assert (await bench.day()).used == CALL


async def test_what_a_failed_member_did_to_what_is_remembered_is_undone(
    database: Database,
) -> None:
    session_id = await session_of(database)
    await database.write(reserve, session_id, "before", 1)

    def spoil(tx: Transaction) -> None:
        assert isinstance(reserve(tx, session_id, "spoilt", 1_000), Hold)
        raise ZeroDivisionError

    answers = await asyncio.gather(
        database.write(reserve, session_id, "a", 10),
        database.write(spoil),
        database.write(reserve, session_id, "b", 100),
        return_exceptions=True,
    )
    assert isinstance(answers[1], ZeroDivisionError)
    assert isinstance(await database.write(reserve, session_id, "c", LIMIT - 111), Hold)
    assert isinstance(await database.write(reserve, session_id, "d", 1), BudgetExceeded)
    account = await database.read(find_account, DAY)
    assert account is not None
    assert account.held == LIMIT
    assert await database.read(find_hold, "spoilt") is None
    assert (await database.read(audit)).findings == ()


async def test_the_database_refuses_a_hold_that_the_code_let_through(database: Database) -> None:
    session_id = await session_of(database)
    await database.write(reserve, session_id, "a", 10)

    def overspend(tx: Transaction, amount: int) -> None:
        balances = balances_of(tx, [DAY])
        balances[0].hold(amount)
        keep_moves(tx, balances)

    with pytest.raises(BROKEN_RULES):
        await database.write(overspend, LIMIT - 9)
    await database.write(overspend, LIMIT - 10)


async def test_the_database_refuses_a_move_under_a_limit_that_is_no_more(
    database: Database,
) -> None:
    session_id = await session_of(database)
    await database.write(reserve, session_id, "a", 10)

    def believe(tx: Transaction) -> None:
        balances = balances_of(tx, [DAY])
        balances[0].limit_amount += 1
        balances[0].hold(1)
        keep_moves(tx, balances)

    with pytest.raises(RuntimeError, match=r"ledger\.move_account changed 0 of 1 rows"):
        await database.write(believe)


class Found(msgspec.Struct, frozen=True):
    """A hold's number of tokens, as a statement finds it."""

    cost_held: int


async def test_a_statement_sees_what_waits_to_be_written_and_is_seen(database: Database) -> None:
    session_id = await session_of(database)

    def look(tx: Transaction) -> tuple[int, int]:
        reserve(tx, session_id, "a", 10)
        hold = tx.row("ledger.hold", Found, id="a")
        assert hold is not None
        tx.run("ledger.set_limit", id=DAY, limit_amount=20)
        return hold.cost_held, balances_of(tx, [DAY])[0].limit_amount

    assert await database.write(look) == (10, 20)


async def test_a_change_of_nothing_fails_its_own_member_alone(database: Database) -> None:
    session_id = await session_of(database)
    end = Later("workers.end_tick", "now", "outcome", "why", "worker", "number")

    def end_nothing(tx: Transaction) -> None:
        tx.later(end, 1, "ok", "", "nobody", 1)

    answers = await asyncio.gather(
        database.write(reserve, session_id, "a", 10),
        database.write(end_nothing),
        return_exceptions=True,
    )
    assert isinstance(answers[0], Hold)
    assert isinstance(answers[1], RuntimeError)
    assert await database.read(find_hold, "a") == answers[0]


async def test_what_a_reader_leaves_to_be_written_is_refused(database: Database) -> None:
    session_id = await session_of(database)
    with pytest.raises(Exception, match=r"readonly|read-only"):
        await database.read(reserve, session_id, "a", 0)


async def test_a_store_that_remembers_nothing_for_long_does_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "ROWS_MAX", 0)
    plan = await bench.plan(call, checkpoint_every=2)
    for _ in range(5):
        assert (await run_tick(bench.kernel, plan)).outcome is Outcome.OK
    assert (await bench.day()).settled == 5 * CALL
    assert (await bench.store.read(audit)).findings == ()
