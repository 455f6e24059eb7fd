"""The daemon's hourly look: what it does, what it says, and that a failure ends nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from supervisor.clock import VirtualClock
from supervisor.events.log import Origin
from supervisor.governance.rotation import open_session_of, pause_session
from supervisor.maintenance.retention_duty import RetentionDuty, RetentionPlan
from supervisor.storage.database import Transaction
from tests.contract.retained_life import RetainedLife
from tests.unit.recorded_log import RecordedLog


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


def duty(aged: RetainedLife, log: RecordedLog, plan: RetentionPlan | None = None) -> RetentionDuty:
    evening = VirtualClock(aged.life.clock.now() + timedelta(hours=6))
    return RetentionDuty(aged.store, evening, log.log, lambda: plan or aged.plan())


async def test_it_prunes_and_says_how_much(old: RetainedLife, log: RecordedLog) -> None:
    await duty(old, log).once()
    (line,) = log.lines("pruned")
    (export,) = old.raw.rows("SELECT sessions, events FROM exports")
    assert (line["sessions"], line["events"]) == export
    await duty(old, log).once()
    assert len(log.events) == 1


async def test_it_says_whose_windows_must_stay(aged: RetainedLife, log: RecordedLog) -> None:
    await aged.life.start("digest", "triage")
    await aged.life.tick("triage", 1_000)

    def pause(tx: Transaction, origin: Origin) -> None:
        session = open_session_of(tx, "triage")
        assert session is not None
        pause_session(tx, session, origin, why="spend cap")

    await aged.store.write(pause, aged.life.origin())
    await aged.days(6, "digest")
    await duty(aged, log).once()
    assert [line["workers"] for line in log.lines("retention_held_back")] == [["triage"]]


async def test_what_fails_is_said_and_tried_again(old: RetainedLife, log: RecordedLog) -> None:
    old.folder.write_text("no folder")
    await duty(old, log).once()
    (line,) = log.lines("retention_not_done")
    assert "nothing was pruned" in str(line["error"])
    old.folder.unlink()
    await duty(old, log).once()
    assert len(log.lines("pruned")) == 1
