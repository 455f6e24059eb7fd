"""A worker that fetches each URL of its options, one after the other, and notes how each ended."""

from __future__ import annotations

import json
from typing import cast

import anyio

from supervisor import Context, HttpFailed, Refusal


async def fetches(ctx: Context) -> None:
    """Write `ends.json`: by name, what came of it, in which words, and after how many seconds."""
    ends: dict[str, dict[str, object]] = {}
    for name, url in cast("dict[str, str]", ctx.options["urls"]).items():
        began_s = anyio.current_time()
        text, reason = "", ""
        try:
            answer = await ctx.http.get(url)
            reason, text = str(answer.status_code), answer.text[:20]
        except (HttpFailed, Refusal) as error:
            reason, text = str(getattr(error, "reason", error.code)), str(error)
        ends[name] = {"reason": reason, "text": text, "s": anyio.current_time() - began_s}
    ctx.files.write_text("ends.json", json.dumps(ends))
