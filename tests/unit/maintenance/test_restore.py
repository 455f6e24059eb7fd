"""A restore refunds nothing, releases no kill, and is whole or not at all (decision 0025)."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from supervisor.errors import (
    BudgetExceeded,
)
from supervisor.governance.rotation import open_session_of, pause_session
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.gaps import Spent
from tests.unit.governance.recorded_life import RecordedLife
from tests.unit.maintenance.restored_site import (
    RestoredSite,
    spend_all,
    spending,
    start,
    two_eras,
    with_worker_day,
)

DAY = "system/day/2026-06-01/micro_usd"
CAP = 1_000_000


# --- what the present store knows is taken over


async def test_what_was_spent_since_the_backup_is_taken_over_from_the_present_store(
    site: RestoredSite,
) -> None:
    await two_eras(site)
    before = site.balances()
    restored = await site.restore()
    assert restored.is_known
    assert site.balances() == before
    assert set(restored.carried) == {account for account in before if account}
    await site.check_audit()


async def test_a_hold_in_flight_in_the_present_store_counts_in_full(site: RestoredSite) -> None:
    await two_eras(site)

    async def die_in_flight(life: RecordedLife) -> None:
        await start(life)
        await life.placed("digest", await life.started("digest"), 70_000)

    await site.live(die_in_flight)
    await site.restore()
    assert site.balances()[DAY] == (370_000, 0)
    await site.check_audit()


async def test_a_hold_that_was_open_in_the_backup_counts_once(site: RestoredSite) -> None:
    async def open_hold(life: RecordedLife) -> None:
        await start(life)
        started = await life.started("digest")
        hold = await life.placed("digest", started, 90_000)
        await site.back_up()
        await life.settle(hold, 40_000)
        await life.finish("digest", started)

    await site.live(open_hold)
    await site.restore()
    await site.live(start)  # whose recovery forfeits what the backup has open
    assert site.balances()[DAY] == (90_000, 0)
    await site.check_audit()


async def test_a_new_days_account_that_the_backup_never_had_is_opened(
    site: RestoredSite,
) -> None:
    await site.live(spending(100_000))
    await site.back_up()
    site.clock.advance(86_400)
    await site.live(spending(200_000))
    await site.restore()
    assert site.balances()["system/day/2026-06-02/micro_usd"] == (200_000, 0)
    assert site.balances()["session:digest@2026-06-02T10:00Z/actions"] == (1, 0)
    await site.check_audit()


async def test_a_limit_that_is_set_after_the_restore_counts_what_was_carried(
    site: RestoredSite,
) -> None:
    await two_eras(site)
    await site.restore()

    async def with_new_limit(life: RecordedLife) -> None:
        life.budgets = with_worker_day(250_000)
        await start(life)
        placed = await life.hold(
            "digest", await life.started("digest"), Amounts(cost=1, tokens=1, actions=1)
        )
        assert isinstance(placed, BudgetExceeded)

    await site.live(with_new_limit)
    opened = site.balances().get("worker:digest/day/2026-06-01/micro_usd")
    assert opened == (300_000, 0)
    await site.check_audit()


async def test_a_store_of_another_history_is_added_and_not_taken_as_the_higher(
    site: RestoredSite,
) -> None:
    await site.live(spending(100_000))
    await site.back_up()
    site.lose()
    await site.live(spending(80_000))  # a first store, begun anew after the loss
    await site.restore()
    assert site.balances()[DAY] == (180_000, 0)
    await site.check_audit()


async def test_the_ledgers_clock_does_not_go_back(site: RestoredSite) -> None:
    await site.live(spending(100_000))
    await site.back_up()
    site.clock.advance(86_400)
    await site.live(spending(1_000))
    site.clock.step_wall(-86_400)
    await site.restore()
    ((clock_at,),) = site.rows("SELECT at FROM ledger_clock")
    assert isinstance(clock_at, int)
    assert clock_at > int(site.clock.now().timestamp() * 1e6)


# --- kills, pauses, breakers


async def test_a_kill_since_the_backup_stays_and_one_released_since_is_back(
    site: RestoredSite,
) -> None:
    async def before(life: RecordedLife) -> None:
        await life.start("digest", "triage")
        await life.kill("worker:triage")

    async def after(life: RecordedLife) -> None:
        await life.kill("worker:triage", is_engaged=False)
        await life.kill("worker:digest")

    await site.live(before)
    await site.back_up()
    await site.live(after)
    restored = await site.restore()
    assert restored.latched == ("worker:digest",)
    engaged = site.rows("SELECT scope FROM kill_latches WHERE is_engaged = 1 ORDER BY scope")
    assert engaged == [("worker:digest",), ("worker:triage",)]
    await site.check_audit()


async def _pause(life: RecordedLife) -> None:
    session = await life.store.read(open_session_of, "digest")
    assert session is not None
    await life.store.write(pause_session, session, life.origin(), why="spend cap")


async def test_a_session_that_waited_for_a_person_goes_on_waiting(site: RestoredSite) -> None:
    await two_eras(site)
    await site.live(_pause)
    await site.restore()
    found = site.rows("SELECT status, why FROM sessions WHERE worker = 'digest'")
    assert found == [("paused", "paused before the restore: spend cap")]
    await site.check_audit()


async def test_a_worker_that_waited_for_a_person_and_has_no_session_is_killed(
    site: RestoredSite,
) -> None:
    await site.live(start)
    await site.back_up()
    await site.live(spending(1_000))
    await site.live(_pause)
    assert (await site.restore()).latched == ("worker:digest",)


async def test_an_open_breaker_stays_open(site: RestoredSite) -> None:
    await two_eras(site)

    async def overrun(life: RecordedLife) -> None:
        await start(life)
        started = await life.started("triage")
        await life.settle(await life.placed("triage", started, 1_000), 2_000)
        await life.finish("triage", started)

    await site.live(overrun)
    await site.restore()
    assert site.rows("SELECT name, state FROM breakers") == [("worker:triage", "open")]


# --- what can't be known


@pytest.mark.parametrize("way", ["lost", "damaged", "edited"])
async def test_where_nothing_can_be_known_every_limit_counts_as_used_up(
    site: RestoredSite, way: str
) -> None:
    await two_eras(site)
    if way == "lost":
        site.lose()
    elif way == "damaged":
        site.damage()
    else:
        connection = sqlite3.connect(site.store)
        with connection:
            connection.execute("UPDATE accounts SET settled = 0")
        connection.close()
    restored = await site.restore()
    assert not restored.is_known
    assert restored.latched == ("system",)
    assert site.balances()[DAY] == (CAP, 0)
    await site.live(lambda life: life.kill("system", is_engaged=False))
    assert await site.live(spend_all) == 0
    await site.check_audit()


async def test_a_present_store_that_lost_commits_is_not_known(site: RestoredSite) -> None:
    await two_eras(site)

    async def last_life(life: RecordedLife) -> str:
        await life.start("digest")
        return life.boot_id

    boot_id = await site.live(last_life)
    known = {"boot_id": boot_id, "workers": {"digest": {"last_tick": 2}}}
    heartbeat = site.store.with_name("heartbeat.json")
    heartbeat.write_bytes(msgspec.json.encode(known))
    assert (await site.restore(command_id="known")).is_known
    # The same heartbeat, beside a store that lacks that life: money may be among what is missing.
    assert not (await site.restore(command_id="behind")).is_known
    assert site.balances()[DAY] == (CAP, 0)


async def test_a_later_period_has_its_own_budget_again(site: RestoredSite) -> None:
    await two_eras(site)
    site.lose()
    await site.restore()
    await site.live(lambda life: life.kill("system", is_engaged=False))
    site.clock.advance(86_400)
    assert await site.live(spend_all) == 500_000  # the session's
    await site.check_audit()


async def test_what_a_person_says_was_spent_is_added_to_every_running_limit(
    site: RestoredSite,
) -> None:
    await two_eras(site)
    site.lose()
    await site.restore(Spent(cost=250_000, tokens=0, actions=3))
    await site.live(lambda life: life.kill("system", is_engaged=False))
    assert site.balances()[DAY] == (350_000, 0)
    assert site.balances()["session:digest@2026-06-01T10:00Z/actions"] == (4, 0)
    # And to one that is opened later in a period that had begun: nobody knows whose it was.
    await site.live(spending(1_000, worker="triage"))
    assert site.balances()["session:triage@2026-06-01T10:00Z/micro_usd"] == (251_000, 0)
    await site.check_audit()


async def test_an_amount_that_nobody_said_is_all_that_the_limit_allows(
    site: RestoredSite,
) -> None:
    await two_eras(site)
    site.lose()
    await site.restore(Spent(cost=0))
    assert site.balances()[DAY] == (100_000, 0)
    assert site.balances()["session:digest@2026-06-01T10:00Z/actions"] == (100, 0)


async def test_a_store_of_a_newer_version_is_not_known(site: RestoredSite) -> None:
    await two_eras(site)
    connection = sqlite3.connect(site.store)
    with connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'future', 'x', 0)")
    connection.close()
    assert not (await site.restore()).is_known


async def test_a_restore_of_a_restore_counts_everything_once(site: RestoredSite) -> None:
    await two_eras(site)
    await site.restore()
    await site.live(spending(50_000))
    second = site.backup.with_name("second.db")
    await site.back_up(second)
    await site.live(spending(25_000))
    await site.restore(backup=second)
    assert site.balances()[DAY] == (375_000, 0)
    await site.check_audit()


async def test_after_a_restore_the_day_still_costs_at_most_its_cap(site: RestoredSite) -> None:
    spent = await site.live(lambda life: spend_all(life, calls_max=3))
    await site.back_up()
    spent += await site.live(lambda life: spend_all(life, calls_max=4))
    for _ in range(20):
        await site.restore()
        site.clock.advance(1_200)
        spent += await site.live(lambda life: spend_all(life, calls_max=3))
        await site.back_up(may_replace=True) if spent < 600_000 else None
    assert spent == CAP
    await site.check_audit()
