"""Cron through clock changes, in the real store: each occurrence once, also over a restart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from supervisor.clock import VirtualClock, from_us
from supervisor.outcome import Outcome
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from supervisor.worker.plan import WorkerPlan
from supervisor.worker.schedule import Cron
from supervisor.worker.tick import Occasion, run_tick
from supervisor.worker.timetable import Busy, Timetable
from tests.contract.site import Site
from tests.unit.worker.conftest import Bench

#: A zone, the day of its change, its hours, and the hour of its change.
SWITCHES = {
    "Berlin in spring": ("Europe/Berlin", date(2026, 3, 29), 23.0),
    "Berlin in autumn": ("Europe/Berlin", date(2026, 10, 25), 25.0),
    "New York in spring": ("America/New_York", date(2026, 3, 8), 23.0),
    "New York in autumn": ("America/New_York", date(2026, 11, 1), 25.0),
    "Lord Howe in spring": ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
    "Lord Howe in autumn": ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
}
DAILY = ("0 0 * * *", "30 2 * * *", "0 3 * * *")
QUARTERS = "*/15 * * * *"
_DAY = timedelta(days=1)


class Nights:
    """One cron worker that is lived through the nights of a clock change, tick by tick."""

    def __init__(self, site: Site, folder: Path, schedule: Cron, start: datetime) -> None:
        self._site = site
        self._folder = folder
        self._schedule = schedule
        self._database: Database | None = None
        self.clock = VirtualClock(start)
        self.called: list[datetime] = []

    async def restart(self) -> None:
        """End the life, if there is one, and begin another on the same store."""
        if self._database is not None:
            await self._database.close()
        self._database = await self._site.open()
        self._bench = Bench(self._database, self.clock, self._folder)
        self._plan: WorkerPlan = replace(
            await self._bench.plan(self._run), schedule=self._schedule, name="w"
        )
        self._timetable = Timetable(self._bench.kernel, self._plan, self._schedule)
        await self._timetable.open()

    async def _run(self, _: Context) -> Outcome:
        self.called.append(self.clock.now())
        return Outcome.OK

    async def live_until(self, end: datetime, *, first_lasts_s: float = 1.0) -> None:
        """Wait for each occurrence and run it; all ticks but the first take a second."""
        busy, lasts_s = None, first_lasts_s
        while (due := await self._timetable.next_due()) < end:
            self.clock.advance(max((due - self.clock.now()).total_seconds(), 0.0))
            claim = await self._timetable.take_due(busy)
            busy = None
            if claim is None:
                continue
            began = self.clock.now()
            await run_tick(self._bench.kernel, self._plan, Occasion(claim=claim))
            cancel_at = self._timetable.cancel_at(claim)
            if cancel_at is not None:
                lasts_s = min(lasts_s, (cancel_at - began).total_seconds())
            self._timetable.note_taken(claim)
            self.clock.advance(lasts_s)
            busy = Busy(began=began, ended=self.clock.now(), lasted_s=lasts_s)
            lasts_s = 1.0
        self.clock.advance(max((end - self.clock.now()).total_seconds(), 0.0))

    async def told(self, kind: str) -> list[datetime]:
        """Return when what ran, or what was missed, was due, as the store has it."""
        events = await self._bench.events(kind)
        return [from_us(int(str(event["due_at"]))) for event in events]

    async def close(self) -> None:
        assert self._database is not None
        await self._database.close()


def midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("expression", DAILY)
async def test_a_daily_occurrence_is_taken_once_whatever_is_done_to_the_clock_and_the_daemon(
    site: Site, tmp_path: Path, name: str, expression: str
) -> None:
    zone_name, day, hours = SWITCHES[name]
    zone = ZoneInfo(zone_name)
    start = midnight(day - _DAY, zone) - timedelta(minutes=1)
    nights = Nights(site, tmp_path, Cron(expression, zone), start)
    await nights.restart()
    changes = midnight(day, zone)
    assert (midnight(day + _DAY, zone) - changes) == timedelta(hours=hours)
    # Around the change: every half hour the daemon is killed, and the clock set back by 25 minutes.
    for half_hours in range(12):
        await nights.live_until(changes + half_hours * timedelta(minutes=30))
        nights.clock.step_wall(-25 * 60)
        await nights.restart()
    await nights.live_until(midnight(day + 2 * _DAY, zone))
    ran = await nights.told("cycle_started")
    assert [due.astimezone(zone).date() for due in ran] == [day - _DAY, day, day + _DAY]
    assert await nights.told("occurrence_missed") == []
    assert len(nights.called) == 3
    await nights.close()


@pytest.mark.parametrize("name", SWITCHES)
async def test_each_quarter_is_taken_once_or_recorded_as_missed(
    site: Site, tmp_path: Path, name: str
) -> None:
    zone_name, day, hours = SWITCHES[name]
    zone = ZoneInfo(zone_name)
    start, end = midnight(day, zone), midnight(day + _DAY, zone)
    nights = Nights(site, tmp_path, Cron(QUARTERS, zone), start - timedelta(minutes=1))
    await nights.restart()
    await nights.live_until(start + timedelta(minutes=100))
    nights.clock.step_wall(-50 * 60)  # what has run does not run again
    await nights.restart()
    await nights.live_until(start + timedelta(hours=5))
    nights.clock.step_wall(50 * 60)  # and what is jumped over is on record
    await nights.restart()
    await nights.live_until(end)
    ran, missed = await nights.told("cycle_started"), await nights.told("occurrence_missed")
    whole = [start + number * timedelta(minutes=15) for number in range(int(hours * 4))]
    assert sorted(ran + missed) == whole
    assert 1 <= len(missed) <= 4
    assert len(nights.called) == len(ran)
    await nights.close()


# --- what is due while a tick runs, of which each occurrence has its record


@pytest.mark.parametrize(
    ("overlap", "ran", "missed"),
    [("skip", [1, 4], [2, 3]), ("queue", [1, 3, 4], [2]), ("cancel", [1, 2, 3, 4], [])],
)
async def test_what_is_due_while_a_tick_runs_follows_the_policy(
    site: Site, tmp_path: Path, overlap: str, ran: list[int], missed: list[int]
) -> None:
    start = datetime(2026, 6, 1, 10, 0, 30, tzinfo=UTC)
    minutely = Cron("* * * * *", ZoneInfo("UTC"), overlap=overlap)
    nights = Nights(site, tmp_path, minutely, start)
    await nights.restart()
    # The first tick takes 150 s where nothing cancels it, the others a second.
    await nights.live_until(start + timedelta(minutes=4), first_lasts_s=150.0)
    assert [due.minute for due in await nights.told("cycle_started")] == ran
    assert [due.minute for due in await nights.told("occurrence_missed")] == missed
    await nights.close()


async def test_jitter_delays_each_occurrence_alike_over_a_restart(
    site: Site, tmp_path: Path
) -> None:
    start = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)
    hourly = Cron("0 * * * *", ZoneInfo("UTC"), jitter_s=600.0)
    nights = Nights(site, tmp_path, hourly, start)
    await nights.restart()
    for hours in range(1, 6):
        # In the middle of the wait for one whose time has come already.
        await nights.live_until(start + timedelta(hours=hours, minutes=-29, seconds=-59))
        await nights.restart()
    await nights.live_until(start + timedelta(hours=6))
    due = await nights.told("cycle_started")
    assert [moment.hour for moment in due] == [11, 12, 13, 14, 15, 16]
    late_s = [(at - moment).total_seconds() for at, moment in zip(nights.called, due, strict=True)]
    assert all(0 <= late <= 600 for late in late_s)
    assert len(set(late_s)) > 3
    assert await nights.told("occurrence_missed") == []
    await nights.close()
