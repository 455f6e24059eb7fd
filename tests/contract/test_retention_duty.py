"""The daemon's hourly look: what it does, what it says, and that a failure ends nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from supervisor.clock import VirtualClock, to_us
from supervisor.events.log import Origin
from supervisor.governance.retention import RetireCommand, Sealed, choose_batch, retire
from supervisor.governance.rotation import open_session_of, pause_session
from supervisor.governance.sums import read_sums
from supervisor.ledger.holds import HoldStatus
from supervisor.maintenance.retention_duty import RetentionDuty, RetentionPlan
from supervisor.storage.database import Transaction
from tests.contract.retained_life import RetainedLife
from tests.unit.governance.recorded_life import UTC_ZONE
from tests.unit.recorded_log import RecordedLog


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


def duty(aged: RetainedLife, log: RecordedLog, plan: RetentionPlan | None = None) -> RetentionDuty:
    evening = VirtualClock(aged.life.clock.now() + timedelta(hours=6))
    return RetentionDuty(aged.store, evening, log.log, lambda: plan or aged.plan())


async def test_it_prunes_and_says_how_much(old: RetainedLife, log: RecordedLog) -> None:
    await duty(old, log).once()
    assert log.events == ["pruned"], log.lines("retention_not_done")
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


async def test_a_hold_that_is_put_right_before_the_seal_is_not_lost(aged: RetainedLife) -> None:
    await aged.days(1)
    started = await aged.life.started("digest")
    hold = await aged.life.placed("digest", started, 7_000)
    await aged.life.end(hold, HoldStatus.FORFEITED, "no usage")
    await aged.life.finish("digest", started)
    await aged.days(5)
    cut_us = to_us(aged.life.clock.now() - timedelta(days=2))
    batch = await aged.store.read(choose_batch, cut_us=cut_us, days_max=100)
    assert batch is not None
    sealed = Sealed(file="f", sha256="s", bytes=1, events=1, sums=await aged.store.read(read_sums))
    await aged.life.reconcile(hold, 2_500)
    command = RetireCommand(batch=batch, sealed=sealed)
    assert await aged.store.write(retire, command, aged.life.origin(), UTC_ZONE) is None
    assert aged.count("exports") == aged.count("retiring") == 0


async def test_what_fails_is_said_and_tried_again(old: RetainedLife, log: RecordedLog) -> None:
    old.folder.write_text("no folder")
    await duty(old, log).once()
    (line,) = log.lines("retention_not_done")
    assert "nothing was pruned" in str(line["error"])
    old.folder.unlink()
    await duty(old, log).once()
    assert len(log.lines("pruned")) == 1
