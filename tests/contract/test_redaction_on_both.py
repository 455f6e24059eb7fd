"""What the store keeps holds no secret, and is still what was meant, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.clock import VirtualClock
from supervisor.errors import CommandConflict
from supervisor.events.log import Origin
from supervisor.governance.audit import audit
from supervisor.governance.kill_switch import KillCommand, engage, engaged
from supervisor.redaction import REDACTED, REDACTION
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from supervisor.worker.tick import run_tick
from tests.unit.worker.conftest import UTC_ZONE, Bench

SECRET = 'open"sesame\\behind'  # noqa: S105 - it opens nothing
KEY = "ghp_" + "canary0A" * 5


async def test_a_command_with_a_secret_in_it_is_done_once_and_can_be_proved(
    database: Database, clock: VirtualClock
) -> None:
    REDACTION.learn([SECRET])
    origin = Origin(at=clock.now(), actor=f"me {KEY}", command_id=f"kill {SECRET}")
    command = KillCommand(scope="system", why=f"since {SECRET} and {KEY} leaked")
    first = await database.write(engage, command, origin, UTC_ZONE)
    again = await database.write(engage, command, origin, UTC_ZONE)
    assert first == again
    other = KillCommand(scope="system", why="another reason")
    with pytest.raises(CommandConflict):
        await database.write(engage, other, origin, UTC_ZONE)
    (latch,) = await database.read(engaged)
    assert latch.why == f"since {REDACTED} and {REDACTED} leaked"
    assert (await database.read(audit)).is_clean


async def test_a_tick_that_leaks_leaves_a_record_that_can_be_proved(
    database: Database, clock: VirtualClock, tmp_path: Path
) -> None:
    REDACTION.learn([SECRET])
    bench = Bench(database, clock, tmp_path)

    async def run(ctx: Context) -> None:
        ctx.state[SECRET] = {"deep": [KEY]}
        await ctx.memory.set(f"k {SECRET}", KEY)
        async with ctx.spend(usd_max=0.0, what=f"{SECRET} {KEY}"):
            pass

    async def look(ctx: Context) -> None:
        assert dict(ctx.state) == {REDACTED: {"deep": [REDACTED]}}
        assert await ctx.memory.get(f"k {SECRET}") == REDACTED

    for function in (run, look):
        await run_tick(bench.kernel, await bench.plan(function, checkpoint_every=1))
    (placed,) = await bench.events("hold_placed")
    assert placed["what"] == f"{REDACTED} {REDACTED}"
    assert (await database.read(audit)).is_clean
