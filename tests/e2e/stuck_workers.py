"""A worker that can't be cancelled until its test says so."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from supervisor import Context


async def swallows_until_told(ctx: Context) -> None:
    """Go on whatever is asked of it, as code with a bare `except` does."""
    while not Path(str(ctx.options["go_on"])).exists():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)
