"""Events that change no state never hold anything up, and are dropped with a count."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from supervisor.clock import VirtualClock, to_us
from supervisor.events import kinds
from supervisor.events.log import EventRow, Recorded
from supervisor.events.telemetry import Telemetry
from supervisor.governance.rotation import system_journal
from supervisor.storage.database import Transaction
from tests.conftest import START
from tests.unit.inline_database import InlineDatabase
from tests.unit.recorded_log import RecordedLog
from tests.unit.time_warp import run_warped
from tests.unit.worker.conftest import UTC_ZONE

HELD_MAX = 5


def blocked(number: int) -> kinds.LoopBlocked:
    return kinds.LoopBlocked(lag_s=float(number))


@pytest.fixture
def telemetry(
    inline_store: InlineDatabase, clock: VirtualClock, recorded: RecordedLog
) -> Telemetry:
    return Telemetry(
        database=inline_store,
        clock=clock,
        log=recorded.log,
        open_journal=lambda tx, origin: system_journal(tx, UTC_ZONE, origin),
        held_max=HELD_MAX,
    )


@pytest.fixture
def facts(inline_store: InlineDatabase) -> list[kinds.Event]:
    """The events that were committed, but for those of the session that they are in."""
    found: list[kinds.Event] = []

    def follow(published: object) -> None:
        assert isinstance(published, list)
        events = [fact.event for fact in published if isinstance(fact, Recorded)]
        found.extend(event for event in events if not event.state_bearing)

    inline_store.listen(follow)
    return found


async def run_for(telemetry: Telemetry, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await telemetry.run()


def test_only_what_changes_no_state_may_wait(telemetry: Telemetry) -> None:
    with pytest.raises(AssertionError, match="worker_crashed bears state"):
        telemetry.add(kinds.WorkerCrashed(worker="a", error="x", restart_in_s=1.0))


def test_kinds_of_telemetry_are_those_that_tell_of_the_process_alone() -> None:
    ours = {kind.kind for kind in kinds.KINDS.values() if not kind.state_bearing}
    assert ours == {"loop_blocked", "memory_exceeded", "telemetry_dropped"}


def test_events_are_journalled_in_the_background_in_their_order(
    telemetry: Telemetry, clock: VirtualClock, facts: list[kinds.Event]
) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(telemetry.run)
            for number in range(3):
                telemetry.add(blocked(number))
            assert facts == []
            await anyio.sleep(1)
            assert facts == [blocked(0), blocked(1), blocked(2)]
            telemetry.add(blocked(3))
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()

    run_warped(clock, main())
    assert facts[-1] == blocked(3)


def test_many_events_are_one_commit(
    inline_store: InlineDatabase, clock: VirtualClock, recorded: RecordedLog
) -> None:
    commits: list[object] = []
    inline_store.listen(commits.append)
    telemetry = Telemetry(
        database=inline_store,
        clock=clock,
        log=recorded.log,
        open_journal=lambda tx, origin: system_journal(tx, UTC_ZONE, origin),
        held_max=1_000,
    )
    for number in range(250):
        telemetry.add(blocked(number))
    run_warped(clock, run_for(telemetry, 1))
    assert len(commits) == 3


def test_an_event_keeps_the_moment_at_which_it_happened(
    telemetry: Telemetry, inline_store: InlineDatabase, clock: VirtualClock
) -> None:
    async def read() -> list[int]:
        def rows(tx: Transaction) -> list[EventRow]:
            wide = {"session_id": None, "worker": None, "correlation_id": None, "since": None}
            return tx.rows(
                "events.after", EventRow, position=0, rows_max=99, kind="loop_blocked", **wide
            )

        return [row.at for row in await inline_store.read(rows)]

    async def main() -> list[int]:
        inline_store.failures = 3
        telemetry.add(blocked(1))
        clock.advance(0.5)
        telemetry.add(blocked(2))
        await run_for(telemetry, 60)
        return await read()

    moments = run_warped(clock, main())
    assert moments == [to_us(START), to_us(START + timedelta(seconds=0.5))]


def test_a_store_that_fails_is_tried_again_and_nothing_is_lost_or_doubled(
    telemetry: Telemetry, clock: VirtualClock, inline_store: InlineDatabase, facts: list[object]
) -> None:
    inline_store.failures = 7
    for number in range(HELD_MAX):
        telemetry.add(blocked(number))
    run_warped(clock, run_for(telemetry, 30))
    assert facts == [blocked(number) for number in range(HELD_MAX)]
    assert telemetry.dropped == 0


def test_what_a_failing_store_leaves_over_is_bounded_counted_logged_and_on_record(
    telemetry: Telemetry,
    clock: VirtualClock,
    inline_store: InlineDatabase,
    recorded: RecordedLog,
    facts: list[object],
) -> None:
    inline_store.failures = 2
    for number in range(HELD_MAX + 4):
        telemetry.add(blocked(number))
    assert telemetry.dropped == 4
    assert recorded.events == ["telemetry_is_dropped"]
    run_warped(clock, run_for(telemetry, 30))
    assert facts == [*map(blocked, range(HELD_MAX)), kinds.TelemetryDropped(count=4)]
    assert [line["count"] for line in recorded.lines("telemetry_dropped")] == [4]
    assert telemetry.dropped == 4


def test_nobody_waits_for_a_store_that_hangs(telemetry: Telemetry, recorded: RecordedLog) -> None:
    for number in range(10_000):
        telemetry.add(blocked(number))
    assert telemetry.dropped == 10_000 - HELD_MAX
    assert recorded.events == ["telemetry_is_dropped"], "said once, not ten thousand times"


async def test_what_is_held_at_the_end_is_journalled(
    telemetry: Telemetry, facts: list[object]
) -> None:
    for number in range(HELD_MAX + 1):
        telemetry.add(blocked(number))
    await telemetry.close()
    assert facts == [*map(blocked, range(HELD_MAX)), kinds.TelemetryDropped(count=1)]


async def test_what_a_dead_store_does_not_take_at_the_end_is_dropped_and_said(
    telemetry: Telemetry, inline_store: InlineDatabase, recorded: RecordedLog
) -> None:
    inline_store.failures = 1
    telemetry.add(blocked(1))
    await telemetry.close()
    assert telemetry.dropped == 1
    assert [line["count"] for line in recorded.lines("telemetry_dropped")] == [1]
