"""A worker's loop: when it ticks, what it waits for, and that it never runs hot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import msgspec
import pytest

from supervisor.clock import VirtualClock
from supervisor.errors import StoreUnavailable
from supervisor.events.log import Journal, Origin
from supervisor.governance import kill_switch
from supervisor.governance.breakers import OVERRUN_COOLDOWN_S, report_call
from supervisor.governance.kill_switch import KillCommand
from supervisor.governance.rotation import SessionPlan, open_session_of
from supervisor.governance.session import SessionStatus
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.periods import Period
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction
from supervisor.worker.context import Context
from supervisor.worker.loop import WorkerLoop
from supervisor.worker.plan import Policy, Schedule, WorkerPlan
from supervisor.worker.schedule import Cron, Every
from supervisor.worker.tick import WorkerCrashed
from tests.conftest import START
from tests.unit.inline_database import InlineDatabase
from tests.unit.time_warp import run_warped
from tests.unit.worker.conftest import UTC_ZONE, Bench

DAY_S = 86_400.0
MIDNIGHT = datetime(2026, 6, 2, tzinfo=UTC)


class Number(msgspec.Struct, frozen=True):
    number: int


class Life:
    """A loop in virtual time, and the moments at which its worker was called."""

    def __init__(self, bench: Bench, store: InlineDatabase, clock: VirtualClock) -> None:
        self.bench = bench
        self.store = store
        self.clock = clock
        self.calls: list[datetime] = []
        self.work: Callable[[Context], Awaitable[Outcome | None]] = self._nothing
        self._commands = 0

    @staticmethod
    async def _nothing(_: Context) -> None:
        return

    async def plan(self, schedule: Schedule) -> WorkerPlan:
        async def run(ctx: Context) -> Outcome | None:
            self.calls.append(self.clock.now())
            return await self.work(ctx)

        plan = await self.bench.plan(run, timeout_s=DAY_S)
        return replace(plan, schedule=schedule)

    def live(
        self,
        schedule: Schedule,
        story: Callable[[WorkerLoop], Coroutine[object, object, None]],
    ) -> None:
        """Run the loop while `story` happens, then stop it: it must end by itself."""

        async def main() -> None:
            loop = WorkerLoop(self.bench.kernel, await self.plan(schedule))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(loop.run)
                await story(loop)
                loop.stop()

        run_warped(self.clock, main())

    def waits_s(self) -> list[float]:
        """Return the seconds from the start to the first call, and between calls."""
        moments = [START, *self.calls]
        return [(b - a).total_seconds() for a, b in zip(moments, moments[1:], strict=False)]

    async def turn(self, scope: str, *, is_engaged: bool) -> None:
        self._commands += 1
        origin = Origin(at=self.clock.now(), actor="t", command_id=f"c{self._commands}")
        act = kill_switch.engage if is_engaged else kill_switch.release
        await self.store.write(act, KillCommand(scope=scope, why="drill"), origin, UTC_ZONE)

    async def skipped(self) -> int:
        def count(tx: Transaction) -> Number | None:
            return tx.row("loop_test.skipped", Number)

        self.store.add_statement(
            "loop_test.skipped", "SELECT count(*) AS number FROM ticks WHERE outcome = 'skipped'"
        )
        found = await self.store.read(count)
        assert found
        return found.number


@pytest.fixture
def life(inline_store: InlineDatabase, clock: VirtualClock, tmp_path: Path) -> Life:
    return Life(Bench(inline_store, clock, tmp_path), inline_store, clock)


def waiting(seconds: float) -> Callable[[WorkerLoop], Coroutine[object, object, None]]:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(seconds)

    return story


def test_a_fixed_delay_counts_from_the_end_of_a_tick(life: Life) -> None:
    async def work(_: Context) -> None:
        await anyio.sleep(3)

    life.work = work
    life.live(Every(10.0), waiting(35))
    assert life.waits_s() == pytest.approx([0, 13, 13])


def test_a_long_wait_is_exact(life: Life) -> None:
    life.live(Every(1_000.0), waiting(2_500))
    assert life.waits_s() == pytest.approx([0, 1_000, 1_000])


def test_cron_waits_for_its_time_also_the_first(life: Life) -> None:
    life.live(Cron("0 * * * *", UTC_ZONE), waiting(3 * 3600))
    assert [call.strftime("%H:%M:%S") for call in life.calls] == [
        "11:00:00",
        "12:00:00",
        "13:00:00",
    ]


def test_a_loop_that_is_stopped_while_it_waits_ends_at_once(life: Life) -> None:
    life.live(Every(DAY_S), waiting(5))
    assert life.clock.monotonic() == pytest.approx(5.0)


def test_a_loop_that_is_stopped_in_a_tick_ends_with_it(life: Life) -> None:
    async def work(_: Context) -> None:
        await anyio.sleep(60)

    life.work = work
    life.live(Every(1.0), waiting(5))
    assert life.clock.monotonic() == pytest.approx(60.0)
    assert len(life.calls) == 1


def test_a_loop_that_is_stopped_before_its_first_tick_never_ticks(life: Life) -> None:
    life.live(Cron("0 0 * * *", UTC_ZONE), waiting(5))
    assert life.calls == []


def test_a_crash_leaves_the_loop_and_running_it_again_ticks_at_once(life: Life) -> None:
    async def work(_: Context) -> None:
        raise ValueError("no")

    life.work = work

    async def main() -> None:
        loop = WorkerLoop(life.bench.kernel, await life.plan(Every(60.0)))
        for _ in range(2):
            with pytest.raises(WorkerCrashed):
                await loop.run()

    run_warped(life.clock, main())
    assert life.waits_s() == [0, 0]


def test_a_killed_worker_is_not_called_and_does_not_run_hot(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await life.turn("worker:w", is_engaged=True)
        await anyio.sleep(600)
        assert await life.skipped() <= 601

    life.live(Every(0.001), story)
    assert len(life.calls) <= 1


def test_a_release_wakes_a_killed_worker_at_once(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(3_600)
        await life.turn("system", is_engaged=False)
        loop.wake()
        await anyio.sleep(10)

    async def begin() -> None:
        await life.turn("system", is_engaged=True)

    run_warped(life.clock, begin())
    life.live(Every(DAY_S), story)
    assert life.waits_s() == pytest.approx([3_600])


def test_a_wake_does_not_disturb_a_worker_that_nothing_had_refused(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        for _ in range(5):
            await anyio.sleep(10)
            loop.wake()

    life.live(Every(1_000.0), story)
    assert life.waits_s() == [0]


def test_a_worker_that_was_woken_ticks_once_for_it(life: Life) -> None:
    # Two kills are released one after the other: the second wake comes while the tick runs.
    async def work(_: Context) -> None:
        await anyio.sleep(30)

    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(60)
        await life.turn("system", is_engaged=False)
        loop.wake()
        await anyio.sleep(10)
        loop.wake()
        await anyio.sleep(600)

    async def begin() -> None:
        await life.turn("system", is_engaged=True)

    life.work = work
    run_warped(life.clock, begin())
    life.live(Cron("0 6 * * *", UTC_ZONE), story)
    assert len(life.calls) <= 1


async def spend_a_dollar(ctx: Context) -> None:
    async with ctx.spend(usd_max=1.0, what="a book"):
        pass


def test_at_the_cap_it_waits_until_the_day_ends_and_not_a_second_more(life: Life) -> None:
    life.work = spend_a_dollar
    life.live(Every(60.0), waiting(DAY_S))
    assert life.calls == [START, MIDNIGHT]


def test_at_the_cap_nothing_is_tried_until_then(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(6 * 3_600)
        assert await life.skipped() == 1

    life.work = spend_a_dollar
    life.live(Every(60.0), story)


def test_a_cap_that_was_raised_wakes_the_worker(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(600)
        life.bench.kernel.policy = life.bench.policy(cap=2_000_000)
        plan = loop.plan
        loop.replace(plan)
        await anyio.sleep(1)

    life.work = spend_a_dollar
    life.live(Every(60.0), story)
    assert len(life.calls) == 1, "the account keeps its limit until the reload has changed it"


def small_session(*, on_cap: str = "wait") -> Policy:
    budgets = [
        Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=10**9),
        Budget(scope="session", period=Period.SESSION, unit=Unit.ACTIONS, limit_amount=1),
    ]
    return Policy(
        budgets=Budgets(budgets, timezone=UTC_ZONE, warn_ratio=0.8),
        on_cap=on_cap,
        min_output_tokens=64,
    )


def test_at_a_sessions_cap_it_waits_until_the_window_ends(life: Life) -> None:
    life.bench.kernel.policy = small_session()
    life.work = spend_a_dollar
    life.live(Every(60.0), waiting(3_600))
    assert [call.strftime("%H:%M") for call in life.calls] == ["10:30", "11:00"]


def test_on_cap_stop_stops_the_daemon(life: Life) -> None:
    life.bench.kernel.policy = life.bench.policy(on_cap="stop")
    life.work = spend_a_dollar
    life.live(Every(60.0), waiting(120))
    (why,) = life.bench.stops
    assert why.startswith("on_cap = stop: account system/day/2026-06-01/micro_usd")


def test_on_cap_ask_pauses_the_session_for_a_person(life: Life) -> None:
    life.bench.kernel.policy = small_session(on_cap="ask")
    life.work = spend_a_dollar

    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(120)
        session = await life.store.read(open_session_of, "w")
        assert session
        assert (session.status, session.why) == (SessionStatus.PAUSED, "spend cap")
        await anyio.sleep(DAY_S)

    life.live(Every(60.0), story)
    assert len(life.calls) == 1


def test_where_calls_in_flight_may_leave_room_it_waits_its_own_delay(life: Life) -> None:
    # Half of the cap is held by another worker's call, and may turn out to cost nothing.
    async def half(ctx: Context) -> None:
        async with ctx.spend(usd_max=0.6, what="x") as hold:
            await anyio.sleep(100)
            hold.release()

    async def two(_: WorkerLoop) -> None:
        other = replace(await life.plan(Every(DAY_S)), name="other")
        session = SessionPlan(worker="other", span_s=3600, timezone=UTC_ZONE)

        def register(tx: Transaction) -> None:
            tx.run("workers.register", name="other", life="running")

        await life.store.write(register)
        second = WorkerLoop(life.bench.kernel, replace(other, session=session))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.run)
            await anyio.sleep(300)
            second.stop()

    life.work = half
    life.live(Every(60.0), two)
    assert len(life.calls) >= 4
    assert max(life.waits_s()) <= 160


def open_breaker(tx: Transaction, at: datetime) -> None:
    session = open_session_of(tx, "w")
    assert session
    with Journal(tx, session.id, Origin(at=at, actor="t")) as journal:
        report_call(tx, journal, worker="w", is_within_hold=False)


def test_an_open_breaker_is_waited_for_until_it_lets_a_probe_through(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(5)
        await life.store.write(open_breaker, life.clock.now())
        await anyio.sleep(400)

    life.live(Every(10.0), story)
    assert life.waits_s()[1] == pytest.approx(5 + OVERRUN_COOLDOWN_S)


def test_a_store_that_fails_is_a_no_that_is_tried_again_and_not_a_crash(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(5)
        life.store.failures = 3
        await anyio.sleep(60)

    life.live(Every(0.01), story)
    gaps = [wait for wait in life.waits_s() if wait > 0.5]
    assert gaps == pytest.approx([3.01], abs=0.1)


def test_a_store_that_never_answers_is_not_asked_in_a_hot_loop(life: Life) -> None:
    asked: list[float] = []

    async def story(_: WorkerLoop) -> None:
        write = life.store.write

        def down(*_args: object, **_kwargs: object) -> object:
            asked.append(life.clock.monotonic())
            raise StoreUnavailable(subject="store", what="is down", fix="wait")

        life.store.write = down  # type: ignore[assignment, method-assign] # it is down
        await anyio.sleep(60)
        life.store.write = write  # type: ignore[method-assign] # it is up

    life.live(Every(0.001), story)
    assert 50 <= len(asked) <= 61


def test_a_changed_schedule_begins_with_a_tick_now(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(100)
        loop.replace(replace(loop.plan, schedule=Every(50.0)))
        await anyio.sleep(60)

    life.live(Every(1_000.0), story)
    assert life.waits_s() == pytest.approx([0, 100, 50])


def test_an_unchanged_plan_disturbs_nothing(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(100)
        loop.replace(replace(loop.plan, tick_timeout_s=1.0))
        await anyio.sleep(100)

    life.live(Every(1_000.0), story)
    assert life.waits_s() == [0]


def test_a_wall_clock_that_is_set_forward_ends_a_wait_within_a_slice(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(10)
        life.clock.step_wall(DAY_S)
        await anyio.sleep(31)
        assert len(life.calls) == 2

    life.live(Every(3_600.0), story)


def test_a_wall_clock_that_is_set_back_lengthens_no_wait(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(10)
        life.clock.step_wall(-DAY_S)
        await anyio.sleep(95)
        assert len(life.calls) == 2

    life.live(Every(100.0), story)


def test_a_set_wall_clock_is_no_busy_loop(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        for step_s in (-3_600, 7_200, -DAY_S, DAY_S):
            await anyio.sleep(100)
            life.clock.step_wall(step_s)
        await anyio.sleep(100)

    life.live(Every(50.0), story)
    assert len(life.calls) <= 10 + 4


@pytest.mark.parametrize("step_s", [-1.0, -600.0, -3_600.0])
def test_a_cron_occurrence_runs_once_also_when_the_clock_is_set_back(
    life: Life, step_s: float
) -> None:
    # 10:45 is set back to before: cron waits for its hour on the wall clock.
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(900)
        life.clock.step_wall(step_s)
        await anyio.sleep(900 - step_s + 60)

    life.live(Cron("0 11 * * *", UTC_ZONE), story)
    assert [call.strftime("%H:%M") for call in life.calls] == ["11:00"]


def test_a_wall_clock_that_runs_slow_does_not_make_an_occurrence_run_twice(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        for _ in range(30):
            await anyio.sleep(60)
            life.clock.step_wall(-0.001)
        await anyio.sleep(60)

    life.live(Cron("0 11 * * *", UTC_ZONE), story)
    assert len(life.calls) == 1


def test_a_cron_worker_in_the_hour_that_comes_twice_is_no_busy_loop(
    inline_store: InlineDatabase, tmp_path: Path
) -> None:
    clock = VirtualClock(datetime(2026, 10, 25, 1, 10, tzinfo=UTC))
    life = Life(Bench(inline_store, clock, tmp_path), inline_store, clock)

    async def work(_: Context) -> None:
        assert len(life.calls) < 5, "a busy loop"

    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(3_600)

    life.work = work
    life.live(Cron("30 2 * * *", ZoneInfo("Europe/Berlin")), story)
    assert life.calls == []
    assert life.clock.now() == datetime(2026, 10, 25, 1, 10, tzinfo=UTC) + timedelta(hours=1)
