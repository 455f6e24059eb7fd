"""A worker that posts as its options say, and is told 200 each time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, cast

from supervisor import Context
from supervisor.governance.outputs import Output


async def posts(ctx: Context) -> None:
    """Hand over `count` posts, all of one text or each of its own."""
    for number in range(int(str(ctx.options["count"]))):
        text = f"post {number}" if ctx.options["is_varied"] else "the same post"
        url = str(ctx.options["url"])
        ctx.publish(text, send=partial(ctx.http.post, url, content=text.encode()))
    ctx.report("What I posted", "All of them were answered with 200.", name="posted")
    ctx.state["posted"] = True


async def hands_over(ctx: Context) -> None:
    """Hand over the `posts` of its options, each `age_s` old."""
    at = ctx.clock.now() - timedelta(seconds=float(str(ctx.options["age_s"])))
    for post in cast("list[Any]", ctx.options["posts"]):
        ctx.publish(post, at=at)


def no_foxes(outputs: Sequence[Output]) -> str | None:
    """Say that there is a fox: a check of a worker's own."""
    return "there is a fox" if any("fox" in output.text for output in outputs) else None
