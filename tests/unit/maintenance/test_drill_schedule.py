"""Scheduled drills are held when they are due, once, and a failure does not end the schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import anyio
import pytest

from supervisor.clock import VirtualClock
from supervisor.errors import StoreUnavailable
from supervisor.events.log import Origin
from supervisor.governance.drills import Drill, Verdict, begin, finish
from supervisor.maintenance.drill_schedule import DrillSchedule, next_due
from supervisor.storage.database import Database
from tests.unit.recorded_log import RecordedLog

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("schedule", "tried", "due"),
    [
        ("7d", None, NOON + timedelta(seconds=60)),
        ("5s", None, NOON + timedelta(seconds=5)),
        ("7d", NOON - timedelta(days=6), NOON + timedelta(days=1)),
        ("7d", NOON - timedelta(days=9), NOON - timedelta(days=2)),
        ("0 9 * * 1", None, datetime(2026, 6, 8, 9, tzinfo=UTC)),
        ("0 9 * * 1", NOON + timedelta(days=7), datetime(2026, 6, 15, 9, tzinfo=UTC)),
        ("0 13 * * *", NOON - timedelta(days=30), NOON + timedelta(hours=1)),
    ],
)
def test_a_span_counts_from_the_last_one_and_a_cron_leaves_out_what_was_missed(
    schedule: str, tried: datetime | None, due: datetime
) -> None:
    assert next_due(schedule, tried=tried, since=NOON, timezone=UTC_ZONE) == due


def test_cron_is_in_the_timezone_of_the_config() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    due = next_due("0 9 * * *", tried=None, since=NOON, timezone=berlin)
    assert due == datetime(2026, 6, 2, 7, tzinfo=UTC)


class Stage:
    """A schedule whose drills are held by the test."""

    def __init__(self, store: Database, clock: VirtualClock, log: RecordedLog) -> None:
        self.held: list[Drill] = []
        self.verdicts: list[bool | Exception] = []
        self.schedules = {Drill.KILL: "", Drill.RESTORE: ""}
        self._store = store
        self._clock = clock
        self.schedule = DrillSchedule(
            database=store,
            clock=clock,
            log=log.log,
            timezone=UTC_ZONE,
            schedules=lambda: self.schedules,
            hold=self._hold,
        )

    async def _hold(self, drill: Drill) -> Verdict:
        self.held.append(drill)
        outcome = self.verdicts.pop(0) if self.verdicts else True
        if isinstance(outcome, Exception):
            raise outcome
        origin = Origin(at=self._clock.now(), actor="daemon", command_id=f"d-{len(self.held)}")
        await self._store.write(begin, drill, origin, UTC_ZONE)
        verdict = Verdict(
            drill=drill, id=origin.command_id, passed=outcome, measured_s=0.5, what="it went so"
        )
        await self._store.write(finish, verdict, origin, UTC_ZONE)
        return verdict

    async def look(self) -> None:
        """Let the schedule look once, from the beginning of a life."""
        with anyio.move_on_after(0.05):
            await self.schedule.run()


@pytest.fixture
def stage(store: Database, clock: VirtualClock, recorded: RecordedLog) -> Stage:
    return Stage(store, clock, recorded)


async def test_a_drill_is_held_when_it_is_due_and_not_again(
    stage: Stage, clock: VirtualClock
) -> None:
    stage.schedules[Drill.KILL] = "1d"
    await stage.look()
    assert stage.held == []
    clock.advance(60)
    await stage.look()
    await stage.look()
    assert stage.held == [Drill.KILL]
    clock.advance(86_400)
    await stage.look()
    assert stage.held == [Drill.KILL, Drill.KILL]


async def test_what_is_not_scheduled_is_not_held(stage: Stage, clock: VirtualClock) -> None:
    clock.advance(400 * 86_400)
    await stage.look()
    assert stage.held == []


async def test_a_failed_drill_is_said_in_the_log(
    stage: Stage, clock: VirtualClock, recorded: RecordedLog
) -> None:
    stage.schedules[Drill.RESTORE] = "1d"
    stage.verdicts = [False]
    clock.advance(60)
    await stage.look()
    assert [line["why"] for line in recorded.lines("drill_failed")] == ["it went so"]


async def test_one_that_can_not_be_held_is_tried_again_when_it_is_due_the_next_time(
    stage: Stage, clock: VirtualClock, recorded: RecordedLog
) -> None:
    stage.schedules[Drill.RESTORE] = "1d"
    stage.verdicts = [StoreUnavailable(subject="store", what="is full", fix="free some space")]
    clock.advance(60)
    await stage.look()
    await stage.look()
    assert len(stage.held) == 1
    assert recorded.lines("drill_not_held")
    clock.advance(86_400)
    await stage.look()
    assert len(stage.held) == 2
