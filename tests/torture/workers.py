"""Workers that spend all the time, in every way there is; each counts its ticks in its state."""

from __future__ import annotations

import itertools
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx

from supervisor import Context, Outcome, Refusal
from supervisor.agents import repository_digest
from tests.torture.fault_points import POINTS

_USD_PER_MICRO_USD = 1e-6
_LOOK_EVERY_S = 0.002
_calls = itertools.count(1)


class OwnFailure(Exception):
    """What a worker of these tests raises on purpose."""


async def fans_out(ctx: Context) -> None:
    """Make several calls at once."""
    _count(ctx)
    async with anyio.create_task_group() as tasks:
        for _ in range(_option(ctx, "callers")):
            tasks.start_soon(_call, ctx)
    ctx.handoff(f"tick {ctx.tick} fanned out")


async def _call(ctx: Context) -> None:
    POINTS.reach("call:asked")
    # Never the same again: whoever asks it three times is stopped for that.
    prompt = f"Say something in tick {ctx.tick}, for the {next(_calls)}th time."
    await ctx.model.complete(prompt, max_tokens=_tokens(ctx))
    POINTS.reach("call:answered")


async def streams(ctx: Context) -> None:
    """Read an answer as it comes; leave every fifth one in the middle."""
    _count(ctx)
    async with ctx.model.stream(f"Tell story {ctx.tick}.", max_tokens=_tokens(ctx)) as stream:
        POINTS.reach("stream:opened")
        async for _ in stream:
            POINTS.reach("stream:piece")
            if ctx.tick % 5 == 0:
                break


async def calls_dearly(ctx: Context) -> None:
    """Make one call of which few fit under the cap, so that the last one is cut."""
    _count(ctx)
    await _call(ctx)


async def spends(ctx: Context) -> None:
    """Buy something that is no model: settle it, say nothing, give it back, or fail."""
    _count(ctx)
    micro_usd = _option(ctx, "micro_usd")
    async with ctx.spend(usd_max=2 * micro_usd * _USD_PER_MICRO_USD, what="a thing") as spending:
        POINTS.reach("spend:held")
        way = ctx.tick % 4
        if way == 0:
            spending.release()
            return
        url = str(ctx.options["url"])
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(url, json={"micro_usd": micro_usd})
        answer.raise_for_status()
        POINTS.reach("spend:charged")
        if way == 1:
            spending.settle(usd=micro_usd * _USD_PER_MICRO_USD)
        elif way == 2:
            raise OwnFailure("after it was charged")


async def raises(ctx: Context) -> None:
    """Fail every third time, as a bug does, with a call in flight."""
    _count(ctx)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_call, ctx)
        await anyio.lowlevel.checkpoint()
        if ctx.tick % 3 == 0:
            raise OwnFailure("a bug of this worker")


async def counts(ctx: Context) -> None:
    """Spend nothing, so that it ticks whatever the others have spent."""
    _count(ctx)


async def fails(ctx: Context) -> Outcome:
    """Fail but for every ninth time, so that its breaker opens, is probed, and seldom closes."""
    if ctx.tick % 9:
        return Outcome.FAILED
    _count(ctx)
    return Outcome.OK


async def digests(ctx: Context) -> Outcome | None:
    """Be the repository digest, with points at its ends."""
    POINTS.reach("digest:asked")
    outcome = await repository_digest.run(ctx)
    POINTS.reach("digest:reported" if outcome is None or outcome is Outcome.OK else "digest:noop")
    return outcome


async def calls_until_refused(ctx: Context) -> None:
    """When told to go, let many callers make calls at once until each has been refused."""
    Path(str(ctx.options["ready"])).touch()
    go = Path(str(ctx.options["go"]))
    while not go.exists():  # noqa: ASYNC110 - another process says so
        await anyio.sleep(_LOOK_EVERY_S)
    async with anyio.create_task_group() as tasks:
        for _ in range(_option(ctx, "callers")):
            tasks.start_soon(_call_until_refused, ctx)


async def _call_until_refused(ctx: Context) -> None:
    while True:
        try:
            await _call(ctx)
        except Refusal:
            return


def _count(ctx: Context) -> None:
    count = ctx.state.get("count", 0)
    assert isinstance(count, int)
    ctx.state["count"] = count + 1


def _tokens(ctx: Context) -> int:
    return _option(ctx, "tokens")


def _option(ctx: Context, name: str) -> int:
    value = ctx.options[name]
    assert isinstance(value, int)
    return value
