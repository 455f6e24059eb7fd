"""Workers of the end-to-end tests of queues: each tells a witness what it does."""

from __future__ import annotations

import time
from pathlib import Path

import anyio

from supervisor import Context
from tests.torture.job_witness import What, Witness

_LOOK_EVERY_S = 0.02


async def waits(ctx: Context) -> None:
    """Do nothing until a file lets the job end."""
    witness = _witness(ctx)
    _tell(ctx, witness, "run")
    await _may_go_on(ctx)
    _tell(ctx, witness, "end")


async def waits_in_its_effect(ctx: Context) -> None:
    """Begin something outside, and do not come to its end."""
    witness = _witness(ctx)
    async with ctx.once(_name(ctx)) as effect:
        assert effect.is_new, "there is no second one"
        _tell(ctx, witness, "effect")
        await anyio.sleep_forever()


async def blocks(ctx: Context) -> None:
    """Hold the event loop in the first attempt, once it may; have one effect in any of them."""
    witness = _witness(ctx)
    _tell(ctx, witness, "run")
    assert ctx.job is not None, "it has a queue"
    if ctx.job.attempt == 1:
        await _may_go_on(ctx)
        time.sleep(float(str(ctx.options["block_s"])))
    async with ctx.once(_name(ctx)) as effect:
        if effect.is_new:
            _tell(ctx, witness, "effect")
    ctx.state["done"] = True
    _tell(ctx, witness, "end")


async def _may_go_on(ctx: Context) -> None:
    go = Path(str(ctx.options["go"]))
    while not go.exists():  # noqa: ASYNC110 - another process says so
        await anyio.sleep(_LOOK_EVERY_S)


def _witness(ctx: Context) -> Witness:
    return Witness(Path(str(ctx.options["witness"])))


def _name(ctx: Context) -> str:
    assert ctx.job is not None, "it has a queue"
    return str(ctx.job.payload)


def _tell(ctx: Context, witness: Witness, what: What) -> None:
    job = ctx.job
    assert job is not None, "it has a queue"
    witness.tell(what, _name(ctx), token=job.token, attempt=job.attempt)
