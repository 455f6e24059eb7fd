"""Workers that do harm to their own process; copied as `faults.py` beside the test's config."""

from __future__ import annotations

import re
import time

import anyio

from supervisor import Context

_CALL_TOKENS = 100
_MB = 1_000_000
_HELD: list[bytes] = []


async def _call(ctx: Context) -> None:
    await ctx.model.complete(
        f"Say something in tick {ctx.tick}.", max_tokens=_CALL_TOKENS, purpose="test"
    )


async def calls_and_blocks(ctx: Context) -> None:
    """Block the event loop in the first tick while a call is in flight, as careless code does."""
    if ctx.tick > 1:
        await _call(ctx)
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_call, ctx)
        await anyio.sleep(0.5)
        time.sleep(_seconds(ctx))


async def blocks_when_cancelled(ctx: Context) -> None:
    """Tidy up for long, blocking all else."""
    try:
        await anyio.sleep_forever()
    finally:
        time.sleep(_seconds(ctx))


async def never_matches(ctx: Context) -> None:
    """Ask the regular expressions for something that takes them years, in the first tick."""
    if ctx.tick == 1:
        re.match(r"(x+x+)+y", "x" * 60)


async def grows(ctx: Context) -> None:
    """Hold on to ten megabytes more each tick, up to `megabytes`."""
    limit = ctx.options["megabytes"]
    assert isinstance(limit, int)
    if len(_HELD) * 10 < limit:
        _HELD.append(b"x" * 10 * _MB)


def _seconds(ctx: Context) -> float:
    value = ctx.options["seconds"]
    assert isinstance(value, int | float)
    return value
