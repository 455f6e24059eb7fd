"""The ledger's clock is put back in a person's name, and no cent is refunded by it."""

from __future__ import annotations

import pytest

from supervisor.errors import BudgetExceeded, CommandConflict, IllegalMove
from supervisor.events.log import EventRow
from supervisor.governance.clock_reset import ClockReset, ResetClockCommand, reset_clock
from supervisor.governance.rotation import open_session_of, pause_session
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.holds import Account, Hold, find_account
from supervisor.ledger.limits import ledger_now
from supervisor.storage.database import Transaction
from supervisor.worker.records import Skipped
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife

DAY_S = 86_400
TODAY = "system/day/2026-06-01/micro_usd"
LATER = "system/day/2026-07-01/micro_usd"


async def go_astray(life: RecordedLife) -> None:
    """Spend 0.10 USD today, and 0.20 USD while the clock is 30 days ahead."""
    await life.start("digest", "triage")
    await life.tick("digest", 100_000)
    life.clock.step_wall(30 * DAY_S)
    await life.tick("digest", 200_000)
    life.clock.step_wall(-30 * DAY_S)


async def reset(life: RecordedLife, *, command_id: str = "reset-1", why: str = "ntp") -> ClockReset:
    command = ResetClockCommand(why=why)
    return await life.store.write(reset_clock, command, life.origin(command_id), UTC_ZONE)


async def account(life: RecordedLife, account_id: str) -> Account:
    found = await life.store.read(find_account, account_id)
    assert found is not None, account_id
    return found


async def test_money_counts_today_again_with_what_was_spent_under_the_later_day(
    life: RecordedLife,
) -> None:
    await go_astray(life)
    done = await reset(life)
    assert TODAY in done.carried
    assert (await account(life, TODAY)).settled == 300_000
    assert (await account(life, LATER)).settled == 200_000  # should the later day be the right one
    now = life.clock.now()
    assert await life.store.read(ledger_now, now) == now
    assert (await life.audit()).findings == ()


async def test_a_hold_that_is_open_in_the_later_day_counts_today(life: RecordedLife) -> None:
    await go_astray(life)
    life.clock.step_wall(30 * DAY_S)
    await life.placed("digest", await life.started("digest"), 50_000)
    life.clock.step_wall(-30 * DAY_S)
    await reset(life)
    assert (await account(life, TODAY)).settled == 350_000


async def test_sessions_of_the_future_are_closed_and_their_spending_counts_in_that_of_now(
    life: RecordedLife,
) -> None:
    await go_astray(life)
    done = await reset(life)
    assert done.closed == ("digest@2026-07-01T10:00Z",)
    now = "session:digest@2026-06-01T10:00Z/micro_usd"
    assert (await account(life, now)).settled == 300_000
    life.clock.advance(3_600)
    await life.start("digest", "triage")
    await life.tick("digest", 1_000)  # in the next window, as ever
    session = await life.store.read(open_session_of, "digest")
    assert session is not None
    assert session.id == "digest@2026-06-01T11:00Z"
    assert (await life.audit()).findings == ()


async def test_today_still_costs_at_most_its_cap(life: RecordedLife) -> None:
    await go_astray(life)
    await reset(life)
    spent = 300_000
    for _ in range(6):
        life.clock.advance(3_600)
        await life.start("digest", "triage")
        started = await life.begin("digest")
        if isinstance(started, Skipped):
            break
        for _ in range(8):
            placed = await life.hold("digest", started, Amounts(cost=50_000, tokens=100, actions=1))
            if isinstance(placed, BudgetExceeded):
                break
            assert isinstance(placed, Hold)
            await life.settle(placed, 50_000)
            spent += 50_000
        await life.finish("digest", started)
    assert spent == 1_000_000


async def test_a_daemon_starts_on_it_though_todays_own_session_was_sealed(
    life: RecordedLife,
) -> None:
    await go_astray(life)
    await reset(life)
    await life.start("digest", "triage")
    skipped = await life.begin("digest")
    assert isinstance(skipped, Skipped)
    assert "the clock went back into a window that was closed" in str(skipped.refusal)


async def test_a_session_that_waits_for_a_person_is_left_to_them(life: RecordedLife) -> None:
    await go_astray(life)
    session = await life.store.read(open_session_of, "digest")
    assert session is not None
    await life.store.write(pause_session, session, life.origin(), why="spend cap")
    done = await reset(life)
    assert (done.closed, done.left) == ((), (session.id,))


async def test_a_clock_that_is_right_is_not_reset(life: RecordedLife) -> None:
    await life.start("digest")
    await life.tick("digest", 1_000)
    with pytest.raises(IllegalMove, match="is not ahead"):
        await reset(life)


async def test_the_same_command_twice_carries_once(life: RecordedLife) -> None:
    await go_astray(life)
    first = await reset(life)
    assert await reset(life) == first
    assert (await account(life, TODAY)).settled == 300_000
    with pytest.raises(CommandConflict, match="why"):
        await reset(life, why="another")


async def test_it_is_an_event_in_a_persons_name(life: RecordedLife) -> None:
    await go_astray(life)
    await reset(life)

    def read(tx: Transaction) -> list[EventRow]:
        rows = tx.rows("audit.events", EventRow, after=0)
        return [row for row in rows if row.kind == "ledger_clock_reset"]

    (row,) = await life.store.read(read)
    assert row.actor == "test"
    assert '"why":"ntp"' in row.payload
