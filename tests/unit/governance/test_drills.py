"""A drill is on record from when it is asked for to its verdict, once."""

from __future__ import annotations

import pytest

from supervisor.errors import CommandConflict, IllegalMove
from supervisor.governance.drills import (
    Drill,
    DrillStatus,
    Verdict,
    begin,
    finish,
    last_end,
    last_passes,
    take_up,
    under_way,
)
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife


async def ask(life: RecordedLife, drill_id: str, drill: Drill = Drill.KILL) -> Verdict | None:
    return await life.store.write(begin, drill, life.origin(drill_id), UTC_ZONE)


async def end(
    life: RecordedLife, drill_id: str, *, passed: bool, drill: Drill = Drill.KILL
) -> bool:
    verdict = Verdict(drill=drill, id=drill_id, passed=passed, measured_s=0.125, what="so it went")
    return await life.store.write(finish, verdict, life.origin(drill_id), UTC_ZONE)


async def test_a_drill_has_one_verdict_and_the_same_command_gives_it_again(
    life: RecordedLife,
) -> None:
    assert await ask(life, "d-1") is None
    assert await end(life, "d-1", passed=True)
    assert not await end(life, "d-1", passed=False)
    verdict = await ask(life, "d-1")
    assert verdict == Verdict(
        drill=Drill.KILL, id="d-1", passed=True, measured_s=0.125, what="so it went"
    )
    with pytest.raises(CommandConflict, match="drill"):
        await ask(life, "d-1", Drill.RESTORE)
    assert (await life.audit()).findings == ()


async def test_one_of_a_kind_at_a_time(life: RecordedLife) -> None:
    await ask(life, "d-1")
    with pytest.raises(IllegalMove, match="d-1 is under way"):
        await ask(life, "d-2")
    with pytest.raises(IllegalMove, match="d-1 is under way"):
        await ask(life, "d-1")
    assert await ask(life, "d-3", Drill.RESTORE) is None


async def test_one_that_was_lost_is_failed_by_the_next(life: RecordedLife) -> None:
    await ask(life, "d-1")
    life.clock.advance(61)
    assert await ask(life, "d-2") is None
    (record,) = await life.store.read(under_way, Drill.KILL)
    assert record.id == "d-2"
    lost = await life.store.read(last_end, Drill.KILL)
    assert lost is not None
    assert (lost.id, lost.status) == ("d-1", DrillStatus.FAILED)
    assert "ended before there was a verdict" in lost.what


async def test_one_daemon_takes_it_up(life: RecordedLife) -> None:
    await ask(life, "d-1")
    assert await life.store.write(take_up, "d-1", "boot-1")
    assert not await life.store.write(take_up, "d-1", "boot-2")
    (record,) = await life.store.read(under_way, Drill.KILL)
    assert (record.status, record.boot_id) == (DrillStatus.RUNNING, "boot-1")


async def test_the_last_pass_is_known_however_many_failed_since(life: RecordedLife) -> None:
    await ask(life, "d-1")
    await end(life, "d-1", passed=True)
    passed_at = life.clock.now()
    life.clock.advance(3_600)
    await ask(life, "d-2")
    await end(life, "d-2", passed=False)
    passes = await life.store.read(last_passes)
    assert passes == {"kill": int(passed_at.timestamp() * 1_000_000)}
