"""What the kill drill kills: a worker that awaits a long call, under a hold of nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from supervisor import Context


async def run(ctx: Context) -> None:
    """Await what never comes, as a worker awaits a model that takes its time."""
    async with ctx.spend(usd_max=0.0, what="drill", actions=0):
        await anyio.sleep_forever()
