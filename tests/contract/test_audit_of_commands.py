"""The audit misses the command row without which the same command would be carried out again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from supervisor.governance import drills
from supervisor.governance.clock_reset import ResetClockCommand, reset_clock
from supervisor.governance.drills import Drill, Verdict
from supervisor.governance.restoring import RestoreCommand, record_restore
from tests.databases import RawConnection
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife


async def restore(life: RecordedLife) -> None:
    command = RestoreCommand(backup_sha256="", why="x")
    await life.store.write(record_restore, command, None, life.origin("c-1"), UTC_ZONE)


async def reset(life: RecordedLife) -> None:
    life.clock.step_wall(86_400)
    await life.tick("digest", 1)
    life.clock.step_wall(-86_400)
    await life.store.write(reset_clock, ResetClockCommand(why="x"), life.origin("c-1"), UTC_ZONE)


async def drill(life: RecordedLife, *, passed: bool) -> None:
    await life.store.write(drills.begin, Drill.KILL, life.origin("c-1"), UTC_ZONE)
    verdict = Verdict(drill=Drill.KILL, id="c-1", passed=passed, measured_s=0.1, what="x")
    await life.store.write(drills.finish, verdict, life.origin("c-1"), UTC_ZONE)


@pytest.mark.parametrize(
    ("command", "operation"),
    [
        (restore, "restore"),
        (reset, "reset_clock"),
        (lambda life: drill(life, passed=True), "drill"),
        (lambda life: drill(life, passed=False), "drill"),
    ],
    ids=["restore", "reset_clock", "drill passed", "drill failed"],
)
async def test_a_command_whose_row_is_gone_or_says_another_operation_is_named(
    life: RecordedLife,
    raw: RawConnection,
    command: Callable[[RecordedLife], Awaitable[None]],
    operation: str,
) -> None:
    await life.start("digest")
    await command(life)
    assert (await life.audit()).findings == ()
    raw.run("UPDATE commands SET operation = 'kill' WHERE id = 'c-1'")
    assert await findings(life) == [f"command c-1: its row says kill, its event {operation}"]
    raw.run("DELETE FROM commands WHERE id = 'c-1'")
    assert await findings(life) == ["command c-1: has an event but no row"]


async def findings(life: RecordedLife) -> list[str]:
    return [f"{one.subject}: {one.what}" for one in (await life.audit()).findings]
