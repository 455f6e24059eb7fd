"""Kinds of events that no other test asks for: each of them comes of what it tells."""

from __future__ import annotations

import msgspec

from supervisor.events.log import Origin
from supervisor.governance.rotation import system_journal
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.carrying import raise_to, running_accounts
from supervisor.ledger.holds import HoldStatus
from supervisor.ledger.periods import Period
from supervisor.lifecycle import Life, end_life
from supervisor.storage.database import Database, Transaction
from tests.databases import RawConnection
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife

DAY = "system/day/2026-06-01/micro_usd"


def payloads(raw: RawConnection, kind: str) -> list[dict[str, object]]:
    found = raw.rows("SELECT payload FROM events WHERE kind = ? ORDER BY position", kind)
    return [msgspec.json.decode(str(payload)) for (payload,) in found]


async def test_a_life_of_the_daemon_is_told_from_its_start_to_its_stop(
    life: RecordedLife, database: Database, raw: RawConnection
) -> None:
    await life.start("digest")
    await life.tick("digest")
    ended = Life(boot_id=life.boot_id, pid=1, host="here", version="0")
    await database.write(end_life, ended, UTC_ZONE, life.origin(), why="asked to")
    await life.start("digest")
    await life.tick("digest")
    started = payloads(raw, "daemon_started")
    assert [event["boot_id"] for event in started] == ["boot-1", "boot-2"]
    assert payloads(raw, "cycle_started")[0] == {"worker": "digest", "tick": 1}
    assert payloads(raw, "daemon_stopped") == [{"boot_id": "boot-1", "why": "asked to"}]
    paused = {"worker": "digest", "why": "daemon stopped"}
    assert payloads(raw, "session_paused") == [paused]
    assert payloads(raw, "session_resumed") == [paused | {"why": "daemon started"}]


async def test_a_window_is_opened_after_the_one_before_it_was_closed(
    life: RecordedLife, raw: RawConnection
) -> None:
    await life.start("digest")
    before = (await life.started("digest")).session.id
    life.clock.advance(3600)
    after = (await life.started("digest")).session.id
    opened = [event for event in payloads(raw, "session_opened") if event["worker"] == "digest"]
    assert [event["window_end"] for event in opened][:1] == [opened[1]["window_start"]]
    assert payloads(raw, "session_closed") == [{"worker": "digest"}]
    assert payloads(raw, "session_rotated") == [{"worker": "digest", "previous": before}]
    assert before != after


async def test_an_account_is_opened_at_its_first_use_and_a_hold_that_was_not_sent_released(
    life: RecordedLife, raw: RawConnection
) -> None:
    await life.start("digest")
    started = await life.started("digest")
    hold = await life.placed("digest", started, 9_000)
    await life.end(hold, HoldStatus.RELEASED, "not sent")
    opened = {event["account"]: event for event in payloads(raw, "account_opened")}
    assert opened[DAY] == {"account": DAY, "limit_amount": 1_000_000}
    assert payloads(raw, "hold_released") == [{"hold": hold.id, "why": "not sent"}]


async def test_a_limit_that_comes_back_is_recounted(life: RecordedLife, raw: RawConnection) -> None:
    whole = life.budgets
    await life.start("digest")
    await life.tick("digest", 1_000)
    session = Budget(scope="session", period=Period.SESSION, unit=Unit.ACTIONS, limit_amount=100)
    life.budgets = Budgets([session], timezone=UTC_ZONE, warn_ratio=0.8)
    await life.start("digest")
    await life.tick("digest", 2_000)
    life.budgets = whole
    await life.start("digest")
    recounted = {event["account"]: event for event in payloads(raw, "account_recounted")}
    assert recounted[DAY] == {"account": DAY, "before": 1_000, "settled": 3_000}
    assert (await life.audit()).is_clean


async def test_what_is_spent_and_has_no_hold_here_is_carried_to_its_account(
    life: RecordedLife, raw: RawConnection
) -> None:
    await life.start("digest")
    await life.tick("digest", 1_000)

    def carry(tx: Transaction, origin: Origin) -> None:
        accounts = {account.id: account for account in running_accounts(tx, 0)}
        with system_journal(tx, UTC_ZONE, origin) as journal:
            raise_to(tx, journal, accounts[DAY], 5_000, why="of the store before")

    await life.store.write(carry, life.origin())
    assert payloads(raw, "account_carried") == [
        {"account": DAY, "before": 1_000, "settled": 5_000, "why": "of the store before"}
    ]
    assert (await life.audit()).is_clean
