"""What dead lives left behind is closed in the open, all of it, and once."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest

from supervisor.clock import VirtualClock, to_us
from supervisor.events import kinds, upkeep_kinds
from supervisor.events.log import Journal, Origin, Recorded
from supervisor.governance.kill_switch import KillCommand, engage, release
from supervisor.governance.rotation import (
    SessionPlan,
    adopt_or_rotate,
    close_session,
    find_session,
    pause_session,
)
from supervisor.governance.session import DAEMON_STOPPED, SessionStatus
from supervisor.ledger import ledger
from supervisor.ledger.accounts import Amounts, Budget, Budgets, Unit
from supervisor.ledger.holds import HoldRequest
from supervisor.ledger.periods import Period
from supervisor.lifecycle import Life, begin_life
from supervisor.maintenance.peers import SILENT_S, Peers
from supervisor.maintenance.recovery import Findings, recover
from supervisor.outcome import Outcome
from supervisor.storage.database import Database, Transaction
from supervisor.worker.records import Ending, Started, TickRequest, begin_tick, finish_tick
from tests.unit.inline_database import InlineDatabase

UTC_ZONE = ZoneInfo("UTC")
BUDGETS = Budgets(
    [Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=10_000_000)],
    timezone=UTC_ZONE,
    warn_ratio=1.0,
)


class Tick(msgspec.Struct, frozen=True):
    worker: str
    number: int
    outcome: str | None
    why: str


class Sums(msgspec.Struct, frozen=True):
    settled: int
    held: int


class DeadLife:
    """What a daemon did before it died, written as it would have written it."""

    def __init__(self, store: Database, clock: VirtualClock) -> None:
        self.store = store
        self.clock = clock
        self.facts: list[Recorded] = []
        store.listen(lambda facts: self.facts.extend(f for f in facts if isinstance(f, Recorded)))

    def origin(self) -> Origin:
        return Origin(at=self.clock.now(), actor="t")

    async def begin(self, worker: str = "a", *, boot_id: str = "old") -> Started:
        """Begin a tick and leave it running."""

        def begin(tx: Transaction) -> Started:
            tx.run("workers.register", name=worker, life="running")
            request = TickRequest(
                boot_id=boot_id,
                session=SessionPlan(worker=worker, span_s=3600, timezone=UTC_ZONE),
                budgets=BUDGETS,
                model="",
                is_free=True,
            )
            begun = begin_tick(tx, request, self.origin())
            assert isinstance(begun, Started)
            return begun

        return await self.store.write(begin)

    async def hold(
        self, tick: Started, number: int = 1, *, cost: int = 1_000, boot_id: str = "old"
    ) -> None:
        """Place a hold in the tick and leave it open."""

        def place(tx: Transaction) -> None:
            request = HoldRequest(
                id=f"{tick.session.worker}#{tick.tick}.{number}",
                boot_id=boot_id,
                worker=tick.session.worker,
                session_id=tick.session.id,
                tick=tick.tick,
                model="p/m",
                what="",
                amounts=Amounts(cost=cost),
            )
            with Journal(tx, tick.session.id, self.origin()) as journal:
                ledger.reserve(tx, journal, request, BUDGETS)

        await self.store.write(place)

    async def finish(self, tick: Started) -> None:
        ending = Ending(
            worker=tick.session.worker,
            tick=tick.tick,
            session_id=tick.session.id,
            outcome=Outcome.OK,
            duration_s=0.1,
            checkpoint_every=12,
        )
        await self.store.write(finish_tick, ending, self.origin())

    async def recover(
        self,
        *,
        boot_id: str = "new",
        workers: Collection[str] = ("a", "b"),
        peers: Peers | None = None,
    ) -> Findings:
        return await recover(
            self.store,
            boot_id=boot_id,
            clock=self.clock,
            timezone=UTC_ZONE,
            workers=workers,
            peers=peers,
        )

    async def tick(self, worker: str, number: int) -> Tick:
        def read(tx: Transaction) -> Tick | None:
            return tx.row("recovery_test.tick", Tick, worker=worker, number=number)

        found = await self.store.read(read)
        assert found
        return found

    def events(self, kind: type[kinds.Event]) -> list[Recorded]:
        return [fact for fact in self.facts if isinstance(fact.event, kind)]


@pytest.fixture
def dead(inline_store: InlineDatabase, clock: VirtualClock) -> DeadLife:
    inline_store.add_statement(
        "recovery_test.tick",
        "SELECT worker, number, outcome, why FROM ticks WHERE worker = :worker"
        " AND number = :number",
    )
    inline_store.add_statement(
        "recovery_test.sums",
        "SELECT settled, held FROM accounts WHERE scope = 'system' AND period = 'day'",
    )
    return DeadLife(inline_store, clock)


async def sums(dead: DeadLife) -> Sums:
    found = await dead.store.read(lambda tx: tx.row("recovery_test.sums", Sums))
    assert found
    return found


async def test_a_healthy_store_has_nothing_to_recover(dead: DeadLife) -> None:
    await dead.finish(await dead.begin())
    before = len(dead.facts)
    assert await dead.recover() == Findings()
    assert len(dead.facts) == before


async def test_a_life_that_died_between_its_ticks_is_on_record_once(dead: DeadLife) -> None:
    life = Life(boot_id="old", pid=1, host="here", version="0")
    seen_at = to_us(dead.clock.now())
    await dead.store.write(begin_life, life, ["a"], BUDGETS, dead.origin())
    dead.clock.advance(3_600)
    assert await dead.recover() == Findings()
    assert await dead.recover(boot_id="newer") == Findings()
    (fact,) = dead.events(upkeep_kinds.DaemonDied)
    assert fact.event == upkeep_kinds.DaemonDied(boot_id="old", seen_at=seen_at)
    assert fact.origin.at == dead.clock.now()


async def test_a_tick_of_a_dead_life_is_recovered_and_says_of_which(dead: DeadLife) -> None:
    await dead.begin()
    assert await dead.recover() == Findings(ticks=1)
    tick = await dead.tick("a", 1)
    assert (tick.outcome, tick.why) == ("recovered", "its life old ended before it did")
    (fact,) = dead.events(kinds.CycleRecovered)
    assert fact.event == kinds.CycleRecovered(worker="a", tick=1, boot_id="old")
    assert fact.session_id == "a@2026-06-01T10:00Z"
    assert fact.origin.correlation_id == "a#1"


async def test_its_holds_are_forfeited_and_never_returned(dead: DeadLife) -> None:
    tick = await dead.begin()
    await dead.hold(tick, 1, cost=1_000)
    await dead.hold(tick, 2, cost=2_000)
    assert await sums(dead) == Sums(0, 3_000)
    assert await dead.recover() == Findings(ticks=1, holds=2)
    assert await sums(dead) == Sums(3_000, 0)
    assert len(dead.events(kinds.HoldForfeited)) == 2


async def test_a_hold_whose_tick_has_ended_is_forfeited_too(dead: DeadLife) -> None:
    tick = await dead.begin()
    await dead.finish(tick)
    await dead.hold(tick)
    assert await dead.recover() == Findings(holds=1)
    assert await sums(dead) == Sums(1_000, 0)


async def test_ticks_and_holds_of_this_life_are_left_alone(dead: DeadLife) -> None:
    tick = await dead.begin(boot_id="new")
    await dead.hold(tick, boot_id="new")
    assert await dead.recover(boot_id="new") == Findings()
    assert (await dead.tick("a", 1)).outcome is None
    assert await sums(dead) == Sums(0, 1_000)


async def test_doing_it_again_changes_nothing(dead: DeadLife) -> None:
    await dead.hold(await dead.begin())
    await dead.recover()
    before, count = await sums(dead), len(dead.facts)
    assert await dead.recover() == Findings()
    assert (await sums(dead), len(dead.facts)) == (before, count)


@pytest.mark.parametrize("number", [199, 200, 201, 450])
async def test_nothing_is_left_out_however_much_there_is(dead: DeadLife, number: int) -> None:
    ticks = [await dead.begin("a" if index % 2 else "b") for index in range(number)]
    await dead.hold(ticks[0])
    assert await dead.recover() == Findings(ticks=number, holds=1)
    assert len(dead.events(kinds.CycleRecovered)) == number
    assert await dead.recover() == Findings()


async def test_no_hold_is_left_out_however_many_there_are(dead: DeadLife) -> None:
    tick = await dead.begin()
    await dead.finish(tick)
    for number in range(450):
        await dead.hold(tick, number, cost=10)
    assert await dead.recover() == Findings(holds=450)
    assert await sums(dead) == Sums(4_500, 0)


async def test_no_session_is_left_out_however_many_there_are(dead: DeadLife) -> None:
    for number in range(450):
        await dead.finish(await dead.begin(f"gone-{number}"))
    dead.clock.advance(3600)
    assert await dead.recover() == Findings(sessions=450)
    assert await dead.recover() == Findings()


async def test_what_was_recovered_before_the_store_failed_stays_recovered(
    dead: DeadLife, inline_store: InlineDatabase
) -> None:
    for _ in range(3):
        await dead.begin()
    inline_store.failures = 1
    with pytest.raises(Exception, match="is out of order"):
        await dead.recover()
    assert await dead.recover() == Findings(ticks=3)


async def test_a_tick_whose_session_is_sealed_is_told_of_in_the_systems(dead: DeadLife) -> None:
    tick = await dead.begin()
    await dead.hold(tick)

    def seal(tx: Transaction) -> None:
        session = find_session(tx, tick.session.id)
        assert session
        close_session(tx, session, dead.origin())

    await dead.store.write(seal)
    assert await dead.recover() == Findings(ticks=1, holds=1)
    (fact,) = dead.events(kinds.CycleRecovered)
    assert fact.session_id.startswith("system@")
    assert await sums(dead) == Sums(1_000, 0)


async def status_of(dead: DeadLife, session_id: str) -> SessionStatus:
    session = await dead.store.read(find_session, session_id)
    assert session
    return session.status


async def test_a_worker_that_is_gone_keeps_its_session_until_its_window_is_over(
    dead: DeadLife,
) -> None:
    tick = await dead.begin()
    await dead.finish(tick)
    assert await dead.recover(workers=()) == Findings()
    assert await status_of(dead, tick.session.id) is SessionStatus.ACTIVE
    dead.clock.advance(3600)
    assert await dead.recover(workers=()) == Findings(sessions=1)
    assert await status_of(dead, tick.session.id) is SessionStatus.COMPLETED
    assert await dead.recover(workers=()) == Findings()


async def test_a_paused_session_of_a_worker_that_is_gone_is_closed_too(dead: DeadLife) -> None:
    tick = await dead.begin()
    await dead.finish(tick)

    def pause(tx: Transaction) -> None:
        session = find_session(tx, tick.session.id)
        assert session
        pause_session(tx, session, dead.origin(), why=DAEMON_STOPPED)

    await dead.store.write(pause)
    dead.clock.advance(3600)
    assert await dead.recover(workers=()) == Findings(sessions=1)


@pytest.mark.parametrize("scope", ["session:a@2026-06-01T10:00Z", "worker:a", "system"])
async def test_a_killed_session_of_a_worker_that_is_gone_waits_for_its_release(
    dead: DeadLife, scope: str
) -> None:
    await dead.finish(await dead.begin())
    origin = msgspec.structs.replace(dead.origin(), command_id="c-1")
    await dead.store.write(engage, KillCommand(scope=scope, why="t"), origin, UTC_ZONE)
    dead.clock.advance(3600)
    assert await dead.recover(workers=()) == Findings()
    await dead.store.write(
        release,
        KillCommand(scope=scope, why="t"),
        msgspec.structs.replace(origin, command_id="c-2"),
        UTC_ZONE,
    )
    assert await dead.recover(workers=()) == Findings(sessions=1)


async def test_a_session_of_a_worker_that_is_gone_and_that_waits_for_a_person_is_left_open(
    dead: DeadLife,
) -> None:
    tick = await dead.begin()
    await dead.finish(tick)

    def pause(tx: Transaction) -> None:
        session = find_session(tx, tick.session.id)
        assert session
        pause_session(tx, session, dead.origin(), why="the cap: a person must look")

    await dead.store.write(pause)
    dead.clock.advance(3600)
    assert await dead.recover(workers=()) == Findings()


async def test_a_worker_that_is_still_there_rotates_by_itself(dead: DeadLife) -> None:
    tick = await dead.begin()
    await dead.finish(tick)
    dead.clock.advance(timedelta(days=3).total_seconds())
    assert await dead.recover(workers=["a"]) == Findings()
    assert await status_of(dead, tick.session.id) is SessionStatus.ACTIVE


async def test_the_systems_own_session_is_not_a_lost_workers(dead: DeadLife) -> None:
    def open_system(tx: Transaction) -> None:
        plan = SessionPlan(worker="system", span_s=86_400, timezone=UTC_ZONE)
        adopt_or_rotate(tx, plan, dead.origin())

    await dead.store.write(open_system)
    dead.clock.advance(10 * 86_400)
    assert await dead.recover(workers=()) == Findings()


async def test_a_clock_that_went_back_hinders_nothing(dead: DeadLife) -> None:
    await dead.hold(await dead.begin())
    dead.clock.step_wall(-10 * 86_400)
    assert await dead.recover() == Findings(ticks=1, holds=1)
    assert await sums(dead) == Sums(1_000, 0)


async def test_sums_match_the_events(dead: DeadLife) -> None:
    await dead.hold(await dead.begin(), cost=700)
    await dead.hold(await dead.begin("b"), cost=300)
    await dead.recover()
    told = sum(
        fact.event.cost
        for fact in dead.events(kinds.HoldForfeited)
        if isinstance(fact.event, kinds.HoldForfeited)
    )
    assert told == (await sums(dead)).settled == 1_000


async def test_what_a_living_daemon_has_in_flight_is_left_alone(
    dead: DeadLife, clock: VirtualClock
) -> None:
    life = Life(boot_id="neighbour", pid=7, host="here", version="")
    await dead.store.write(begin_life, life, ["a"], BUDGETS, dead.origin())
    tick = await dead.begin("a", boot_id="neighbour")
    await dead.hold(tick, boot_id="neighbour")
    peers = Peers(host="here", clock=clock, runs=lambda _: True)
    assert await dead.recover(peers=peers) == Findings()
    clock.advance(SILENT_S)
    assert await dead.recover(peers=peers) == Findings(ticks=1, holds=1)
