"""Workers that the measured daemons run; `options.marks` is the file of their moments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from bench.marks import leave_mark

if TYPE_CHECKING:
    from supervisor import Context

_EFFECT_EVERY_S = 0.002


async def tick(ctx: Context) -> None:
    """Leave a mark."""
    leave_mark(_file(ctx))


async def nothing(_ctx: Context) -> None:
    """Do nothing, as a job that is done at once."""


async def call_model(ctx: Context) -> None:
    """Leave a mark, ask a model that answers at once, and remember the answer."""
    leave_mark(_file(ctx))
    reply = await ctx.model.complete("How much is the fish?", max_tokens=64)
    ctx.state["last"] = reply.text


async def wait_for_model(ctx: Context) -> None:
    """Ask a model that takes a minute; a mark in `.begun` before, one in `marks` at the end."""
    leave_mark(_file(ctx).with_suffix(".begun"))
    try:
        await ctx.model.complete("Take your time.", max_tokens=64)
    finally:
        leave_mark(_file(ctx))


async def act_often(ctx: Context) -> None:
    """Have a side effect every 2 ms, until stopped from outside."""
    while True:
        leave_mark(_file(ctx))
        await anyio.sleep(_EFFECT_EVERY_S)


async def crash_once(ctx: Context) -> None:
    """Raise in the first tick, `options.after_s` seconds into it, with a mark just before."""
    if ctx.tick == 1:
        await anyio.sleep(float(str(ctx.options["after_s"])))
        leave_mark(_file(ctx))
        raise RuntimeError("as planned")
    leave_mark(_file(ctx))


def _file(ctx: Context) -> Path:
    return Path(str(ctx.options["marks"]))
