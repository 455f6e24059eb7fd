"""Cron on the real daemon, on a machine whose clock changes, is set, or sleeps."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from supervisor.clock import from_us
from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, RunningDaemon, wait_until
from tests.e2e.machine_clock import MachineClock

SWITCHES = {
    "Berlin in spring": ("Europe/Berlin", date(2026, 3, 29)),
    "Berlin in autumn": ("Europe/Berlin", date(2026, 10, 25)),
    "New York in spring": ("America/New_York", date(2026, 3, 8)),
    "New York in autumn": ("America/New_York", date(2026, 11, 1)),
    "Lord Howe in spring": ("Australia/Lord_Howe", date(2026, 10, 4)),
    "Lord Howe in autumn": ("Australia/Lord_Howe", date(2026, 4, 5)),
}
DAILY = {"midnight": (0, 0), "half": (2, 30), "three": (3, 0)}
CRONS = {name: f"{minute} {hour} * * *" for name, (hour, minute) in DAILY.items()}
CRONS["quarters"] = "*/15 * * * *"
QUARTER = timedelta(minutes=15)


def due(site: Installation, worker: str, kind: str) -> list[datetime]:
    """Return when the worker's occurrences of one kind of event were due."""
    told = [event for event in site.events(kind) if event["worker"] == worker]
    return [from_us(int(str(event["due_at"]))) for event in told if event["due_at"]]


def start(site: Installation, clock: MachineClock) -> RunningDaemon:
    daemon = site.start(environment=clock.environment)
    daemon.wait_until_ready()
    return daemon


def expected(day: date, zone: ZoneInfo) -> dict[str, list[datetime]]:
    """Return when each worker is to run until five hours after midnight, by the zone's own rules.

    What is due in the hour that is left out runs at its end, and what comes twice runs the first
    time; each quarter of real time runs.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    quarters = [midnight + number * QUARTER for number in range(20)]
    offsets = [moment.astimezone(zone).utcoffset() for moment in quarters]
    changed = next(number for number, offset in enumerate(offsets) if offset != offsets[0])
    found = {"quarters": quarters}
    for worker, (hour, minute) in DAILY.items():
        wanted = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
        moment = wanted.astimezone(UTC)
        is_left_out = moment.astimezone(zone).replace(tzinfo=None) != wanted.replace(tzinfo=None)
        found[worker] = [quarters[changed] if is_left_out else moment]
    return found


@pytest.mark.parametrize("name", SWITCHES)
def test_in_a_night_of_a_clock_change_each_occurrence_runs_once(
    on_both: Installation, tmp_path: Path, name: str
) -> None:
    zone_name, day = SWITCHES[name]
    given = {"run": "agents:idle", "timezone": zone_name}
    on_both.configure({"worker": {w: {**given, "cron": cron} for w, cron in CRONS.items()}})
    wanted = expected(day, ZoneInfo(zone_name))
    clock = MachineClock(tmp_path / "clock", slice_s=0.02)
    clock.set(wanted["quarters"][0] - timedelta(minutes=1))
    daemon = start(on_both, clock)
    for number, moment in enumerate(wanted["quarters"]):
        clock.set(moment)
        for worker in CRONS:
            if moment in wanted[worker]:
                wait_until_ran(on_both, worker, moment)
        if number in (6, 11):
            # The machine crashes, and comes up with a clock that is 40 minutes behind.
            daemon.kill_9()
            clock.step(-40 * 60)
            daemon = start(on_both, clock)
    clock.set(wanted["quarters"][-1] + QUARTER - timedelta(minutes=1))
    assert daemon.stop() == 0
    assert {worker: due(on_both, worker, "cycle_started") for worker in CRONS} == wanted
    assert on_both.events("occurrence_missed") == []
    on_both.check_audit()


def wait_until_ran(site: Installation, worker: str, moment: datetime) -> None:
    wait_until(
        lambda: moment in due(site, worker, "cycle_started"), what=f"{worker} has run for {moment}"
    )


def test_a_laptop_that_slept_nine_hours_follows_the_policy_of_each_worker(
    on_both: Installation, tmp_path: Path, measure: Measure
) -> None:
    given: dict[str, object] = {"run": "agents:idle", "cron": "0 * * * *"}
    policies: dict[str, dict[str, object]] = {
        "skips": {},
        "makes_up": {"missed": "once"},
        "catches_up": {"missed": "all", "lateness_max_s": 5.5 * 3_600},
    }
    span: dict[str, object] = {"spans": {"run": "agents:idle", "every_s": 3_600.0}}
    on_both.configure({"worker": {w: {**given, **more} for w, more in policies.items()} | span})
    clock = MachineClock(tmp_path / "clock")
    hour = datetime(2026, 6, 1, 22, 0, tzinfo=UTC)
    clock.set(hour - timedelta(seconds=3))
    daemon = start(on_both, clock)
    wait_until(lambda: len(due(on_both, "catches_up", "cycle_started")) == 1, what="22:00 has run")
    clock.step(9 * 3_600 + 120)
    wait_until(
        lambda: (
            len(due(on_both, "catches_up", "cycle_started")) == 7
            and len(due(on_both, "makes_up", "cycle_started")) == 2
            and len(due(on_both, "skips", "occurrence_missed")) == 9
        ),
        what="what was missed was looked at",
        within_s=45,
    )
    wait_until(lambda: len(on_both.outcomes("spans")) == 2, what="the span is over", within_s=45)
    slept = [hour + timedelta(hours=hours) for hours in range(1, 10)]
    ran = {worker: due(on_both, worker, "cycle_started")[1:] for worker in policies}
    missed = {worker: due(on_both, worker, "occurrence_missed") for worker in policies}
    assert ran == {"skips": [], "makes_up": slept[-1:], "catches_up": slept[-6:]}
    assert missed == {"skips": slept, "makes_up": slept[:-1], "catches_up": slept[:3]}
    assert daemon.stop() == 0
    on_both.check_audit()
    counts = Counter({worker: len(moments) for worker, moments in missed.items()})
    measure("9 h asleep", f"missed and on record: {dict(counts)}")


def test_a_clock_that_is_put_right_by_days_stalls_no_worker(
    on_both: Installation, tmp_path: Path
) -> None:
    on_both.configure({"worker": {"w": {"run": "agents:idle", "cron": "0 * * * *"}}})
    clock = MachineClock(tmp_path / "clock", slice_s=0.02)
    wrong, right = (datetime(2026, month, 1, 12, 0, tzinfo=UTC) for month in (9, 6))
    clock.set(wrong - timedelta(minutes=1))
    daemon = start(on_both, clock)
    for moment in (wrong, wrong + timedelta(hours=1)):
        clock.set(moment)
        wait_until_ran(on_both, "w", moment)
    clock.set(right - timedelta(minutes=1))
    opened = "SELECT taken_at FROM schedules WHERE worker = 'w'"
    wait_until(
        lambda: on_both.number(opened) < right.timestamp() * 1e6, what="the schedule begins anew"
    )
    for moment in (right, right + timedelta(hours=1)):
        clock.set(moment)
        wait_until_ran(on_both, "w", moment)
    assert daemon.stop() == 0
    assert on_both.events("occurrence_missed") == []
