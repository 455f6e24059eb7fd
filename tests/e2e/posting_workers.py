"""A worker that posts as its options say, and is told 200 each time."""

from __future__ import annotations

from functools import partial

from supervisor import Context


async def posts(ctx: Context) -> None:
    """Hand over `count` posts, all of one text or each of its own."""
    for number in range(int(str(ctx.options["count"]))):
        text = f"post {number}" if ctx.options["is_varied"] else "the same post"
        url = str(ctx.options["url"])
        ctx.publish(text, send=partial(ctx.http.post, url, content=text.encode()))
    ctx.report("What I posted", "All of them were answered with 200.", name="posted")
    ctx.state["posted"] = True
