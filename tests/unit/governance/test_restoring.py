"""What a store that was put back takes over, or fears, in one transaction (decision 0025)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from supervisor.errors import BudgetExceeded, CommandConflict
from supervisor.governance.breaker import Breaker, BreakerState
from supervisor.governance.kept import Kept, PausedSession, backup_facts, read_kept
from supervisor.governance.kill_switch import Latch, engaged
from supervisor.governance.restoring import RestoreCommand, Restored, record_restore
from supervisor.governance.rotation import open_session_of
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.carrying import Used
from supervisor.ledger.gaps import Spent
from supervisor.ledger.holds import Account, find_account
from supervisor.storage.database import Transaction
from supervisor.worker.records import Skipped
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife

DAY = "system/day/2026-06-01/micro_usd"
OF_SESSION = "session:digest@2026-06-01T10:00Z/actions"


async def put_back(
    life: RecordedLife, kept: Kept | None, *, command_id: str = "r-1", spent: Spent | None = None
) -> Restored:
    life.clock.advance(1)
    command = RestoreCommand(backup_sha256="", why="a test", spent=spent or Spent())
    return await life.store.write(record_restore, command, kept, life.origin(command_id), UTC_ZONE)


async def kept_by(life: RecordedLife) -> Kept:
    """Return what this very store knows: nothing that it would not know itself."""

    def read(tx: Transaction) -> Kept:
        return read_kept(tx, backup_facts(tx))

    return await life.store.read(read)


async def account(life: RecordedLife, account_id: str) -> Account:
    found = await life.store.read(find_account, account_id)
    assert found is not None, account_id
    return found


async def scopes(life: RecordedLife) -> Sequence[str]:
    return [latch.scope for latch in await life.store.read(engaged)]


@pytest.fixture
async def spent(life: RecordedLife) -> RecordedLife:
    """A life that has spent 0.10 USD."""
    await life.start("digest", "triage")
    await life.tick("digest", 100_000)
    return life


async def test_a_store_that_knows_all_takes_over_nothing(spent: RecordedLife) -> None:
    kept = await kept_by(spent)
    assert kept.is_descendant
    restored = await put_back(spent, kept)
    assert (restored.is_known, restored.carried, restored.latched) == (True, (), ())
    assert (await account(spent, DAY)).settled == 100_000
    assert (await spent.audit()).findings == ()


async def test_what_is_known_of_is_raised_to_and_never_lowered(spent: RecordedLife) -> None:
    kept = await kept_by(spent)
    known = [
        msgspec.structs.replace(one, settled=one.settled + 7, held=3)
        if one.id == DAY
        else msgspec.structs.replace(one, settled=0)
        for one in kept.accounts
    ]
    restored = await put_back(spent, msgspec.structs.replace(kept, accounts=known))
    assert restored.carried == (DAY,)
    assert (await account(spent, DAY)).settled == 100_010
    assert (await account(spent, OF_SESSION)).settled == 1
    assert (await spent.audit()).findings == ()


async def test_what_is_above_a_limit_is_an_overrun_and_refuses_the_rest(
    spent: RecordedLife,
) -> None:
    kept = await kept_by(spent)
    known = [msgspec.structs.replace(one, settled=2_000_000) for one in kept.accounts]
    await put_back(spent, msgspec.structs.replace(kept, accounts=known))
    day = await account(spent, DAY)
    assert (day.settled, day.overrun) == (2_000_000, 1_000_000)
    assert isinstance(await spent.begin("digest"), Skipped)
    assert (await spent.audit()).findings == ()


async def test_stops_are_taken_over(spent: RecordedLife) -> None:
    kept = msgspec.structs.replace(
        await kept_by(spent),
        latches=[Latch(scope="worker:triage", is_engaged=True, actor="bob", why="odd", at=5)],
        breakers=[
            Breaker(
                name="worker:digest",
                state=BreakerState.HALF_OPEN,
                why="dear",
                changed_at=1,
                retry_at=0,
            )
        ],
        paused=[
            PausedSession(id="x", worker="digest", why="spend cap"),
            PausedSession(id="y", worker="gone", why="spend cap"),
        ],
    )
    restored = await put_back(spent, kept)
    assert sorted(restored.latched) == ["worker:gone", "worker:triage"]
    session = await spent.store.read(open_session_of, "digest")
    assert session is not None
    assert (session.status, session.why) == ("paused", "paused before the restore: spend cap")
    assert (await spent.audit()).findings == ()


async def test_spending_that_has_no_hold_is_kept_for_limits_that_are_set_later(
    spent: RecordedLife,
) -> None:
    kept = await kept_by(spent)
    used = [Used(worker="digest", model="paid/model", cost=400_000, tokens=9, actions=4)]
    await put_back(spent, msgspec.structs.replace(kept, used=used))
    report = await spent.audit()
    assert report.findings == ()
    assert report.holds == 2


async def test_what_is_not_known_is_all_that_a_limit_allows_and_a_kill(
    spent: RecordedLife,
) -> None:
    restored = await put_back(spent, None)
    assert not restored.is_known
    assert await scopes(spent) == ["system"]
    assert (await account(spent, DAY)).settled == 1_000_000
    await spent.kill("system", is_engaged=False)
    refused = await spent.begin("triage")
    assert isinstance(refused, Skipped)
    assert isinstance(refused.refusal, BudgetExceeded)
    assert (await spent.audit()).findings == ()


async def test_what_a_person_says_is_added_also_to_accounts_that_are_opened_later(
    spent: RecordedLife,
) -> None:
    await put_back(spent, None, spent=Spent(cost=50_000, tokens=10, actions=2))
    await spent.kill("system", is_engaged=False)
    assert (await account(spent, DAY)).settled == 150_000
    started = await spent.started("triage")
    await spent.placed("triage", started, 1_000)
    opened = await account(spent, "session:triage@2026-06-01T10:00Z/actions")
    assert (opened.settled, opened.held) == (2, 1)
    assert (await spent.audit()).findings == ()


async def test_two_gaps_of_one_period_add_up(spent: RecordedLife) -> None:
    for number in (1, 2):
        said = Spent(cost=50_000, tokens=0, actions=0)
        await put_back(spent, None, command_id=f"r-{number}", spent=said)
    assert (await account(spent, DAY)).settled == 200_000
    await spent.kill("system", is_engaged=False)
    await spent.placed("triage", await spent.started("triage"), 1_000)
    opened = await account(spent, "session:triage@2026-06-01T10:00Z/micro_usd")
    assert opened.settled == 100_000


async def test_the_same_command_twice_counts_once_and_another_content_is_an_error(
    spent: RecordedLife,
) -> None:
    said = Spent(cost=50_000, tokens=0, actions=0)
    first = await put_back(spent, None, spent=said)
    assert await put_back(spent, None, spent=said) == first
    assert (await account(spent, DAY)).settled == 150_000
    with pytest.raises(CommandConflict, match="spent"):
        await put_back(spent, None, spent=Spent())


async def test_a_hold_of_later_is_not_counted_as_a_gap(spent: RecordedLife) -> None:
    await put_back(spent, None, spent=Spent(cost=0, tokens=0, actions=0))
    await spent.kill("system", is_engaged=False)
    spent.clock.advance(86_400)
    started = await spent.started("digest")
    placed = await spent.hold("digest", started, Amounts(cost=500_000, tokens=1, actions=1))
    assert not isinstance(placed, BudgetExceeded)
