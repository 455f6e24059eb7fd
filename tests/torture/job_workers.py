"""The worker of the job campaigns: one effect outside a job, and every way for a job to go."""

from __future__ import annotations

from pathlib import Path

import anyio

from supervisor import NOT_DONE, Context, PermanentFailure
from tests.torture.fault_points import POINTS
from tests.torture.job_witness import Witness

#: Of a long job.
ITEMS = 8


class OwnFailure(Exception):
    """What a job of these tests raises on purpose."""


async def works(ctx: Context) -> None:
    """Do a job: its one effect outside, and what its `kind` says; count it in the state."""
    job = ctx.job
    assert job is not None, "it has a queue"
    payload = job.payload
    assert isinstance(payload, dict), payload
    name, kind, work_s = str(payload["name"]), payload["kind"], float(str(payload["s"]))
    witness = Witness(Path(str(ctx.options["witness"])))
    witness.tell("run", name, token=job.token, attempt=job.attempt)
    if kind == "hopeless":
        raise PermanentFailure("it can't be done, however often it is tried")
    if kind == "paid":
        POINTS.reach("call:asked")
        await ctx.model.complete(f"Say something of {name}.", max_tokens=5)
        POINTS.reach("call:answered")
    if kind == "long":
        await _go_through_items(ctx, work_s)
    await _effect(ctx, witness, name, work_s, is_probed=kind == "probed")
    if kind == "flaky" and job.attempt == 1:
        raise OwnFailure("after the effect")
    if kind == "parent":
        child = {"name": f"{name}-child", "kind": "plain", "s": 0.0}
        ctx.jobs.enqueue_with_tick(job.queue, child, key=f"{name}-child")
    _count(ctx, "done")
    witness.tell("end", name, token=job.token, attempt=job.attempt)


async def _go_through_items(ctx: Context, work_s: float) -> None:
    """Do work item by item, in however many attempts: each counts once, in two places."""
    loop = ctx.each(range(ITEMS))
    async for item in loop:
        await anyio.sleep(work_s / ITEMS)
        loop.kept["sum"] = int(str(loop.kept.get("sum", 0))) + item
        _count(ctx, "items")
        POINTS.reach("effect:item")
    assert (loop.done, loop.kept["sum"]) == (ITEMS, sum(range(ITEMS))), loop.kept


def _count(ctx: Context, what: str) -> None:
    count = ctx.state.get(what, 0)
    assert isinstance(count, int)
    ctx.state[what] = count + 1


async def _effect(
    ctx: Context, witness: Witness, name: str, work_s: float, *, is_probed: bool
) -> None:
    """Do something outside once, in the middle of some work."""
    job = ctx.job
    assert job is not None, "it has a queue"

    async def probe() -> object:
        return name if witness.counted("effect")[name] else NOT_DONE

    async with ctx.once(name, probe=probe if is_probed else None) as effect:
        if effect.is_new:
            await anyio.sleep(work_s / 2)
            POINTS.reach("effect:begun")
            witness.tell("effect", name, token=job.token, attempt=job.attempt)
            POINTS.reach("effect:done")
            effect.record(name)
    # Without a result where a person had to say that it was done.
    assert effect.result in (name, None), f"the effect of {name} gives back {effect.result!r}"
    await anyio.sleep(work_s / 2)
