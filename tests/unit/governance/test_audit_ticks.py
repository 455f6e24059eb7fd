"""The audit of ticks: numbered without a gap, each ended by one event in one session."""

from __future__ import annotations

import pytest

from supervisor.governance.audit import Finding
from supervisor.governance.audit_ticks import NumberRuns
from supervisor.governance.rotation import close_session
from tests.unit.governance.recorded_life import Damage, RecordedLife


async def first(day: RecordedLife) -> Finding:
    """Return the first finding of a store that has one."""
    report = await day.audit()
    assert report.findings_total >= 1
    return report.findings[0]


async def texts(day: RecordedLife) -> str:
    return "\n".join(finding.text for finding in (await day.audit()).findings)


async def test_deleted_tick_is_a_gap(day: RecordedLife, damage: Damage) -> None:
    damage.run("DELETE FROM ticks WHERE worker = 'digest' AND number = 2")
    report = await day.audit()
    assert [finding.text for finding in report.findings] == ["tick 2 of digest: has no row"]


async def test_deleted_last_tick_is_a_gap_too(day: RecordedLife, damage: Damage) -> None:
    damage.run("DELETE FROM ticks WHERE worker = 'triage' AND number > 1")
    report = await day.audit()
    assert report.findings[0].text == "tick 2 of triage: has no row, nor has any up to 3"


@pytest.mark.parametrize("change", ["outcome = 'ok'", "session_id = 'digest@x'"])
async def test_edited_tick_is_named(day: RecordedLife, damage: Damage, change: str) -> None:
    damage.run(f"UPDATE ticks SET {change} WHERE worker = 'digest' AND number = 2")  # noqa: S608 - a test's own text
    report = await day.audit()
    assert report.findings_total == 1
    assert report.findings[0].subject == "tick 2 of digest"


async def test_tick_in_two_sessions_is_found(day: RecordedLife, damage: Damage) -> None:
    damage.run(
        "UPDATE events SET session_id = 'triage@2026-06-01T10:00Z', seq = 900"
        " WHERE kind = 'cycle_completed' AND session_id LIKE 'digest@%10:00Z' AND seq < 15"
    )
    assert "tick 1 of digest: is ended in session triage@2026-06-01T10:00Z" in await texts(day)


async def test_worker_row_that_forgets_ticks_is_found(day: RecordedLife, damage: Damage) -> None:
    damage.run("UPDATE workers SET last_tick = 1 WHERE name = 'triage'")
    finding = await first(day)
    assert finding.text == "worker triage: its row says that tick 1 is its last, there is 3"


async def test_worker_without_a_row_is_found(day: RecordedLife, damage: Damage) -> None:
    damage.run("DELETE FROM workers WHERE name = 'triage'")
    assert (await first(day)).text == "worker triage: has ticks but no row"


async def test_tick_recovered_after_its_session_was_sealed_is_sound(life: RecordedLife) -> None:
    await life.start("digest")
    started = await life.started("digest")
    await life.placed("digest", started, 5_000)
    await life.store.write(close_session, started.session, life.origin())
    await life.start("digest")
    report = await life.audit()
    assert report.is_clean, report.findings
    assert (report.ticks, report.holds) == (1, 1)


def test_runs_of_numbers_join_where_they_touch() -> None:
    runs = NumberRuns()
    assert [runs.add(number) for number in (1, 2, 5, 4, 3, 3, 9)] == [*[True] * 5, False, True]
    assert [number for number in range(12) if number in runs] == [1, 2, 3, 4, 5, 9]
    assert runs.last == 9
