"""A paid call of a worker's own, of no model."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from supervisor.errors import InputRefused
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.holds import Hold, Metering
from supervisor.money import micro_usd
from supervisor.worker.callers import Caller
from supervisor.worker.calls import Calls

_AMOUNT_MAX = 1e9


class Spending:
    """A paid call of the worker's own, while its block runs."""

    def __init__(self, hold: Hold, calls: Calls) -> None:
        self._hold = hold
        self._calls = calls

    def settle(self, *, usd: float, tokens: int = 0) -> None:
        """Say what the call really cost, in USD and tokens; durable when the block ends."""
        actual = amounts_of(
            f"hold {self._hold.id}", usd=usd, tokens=tokens, actions=self._hold.actions_held
        )
        self._calls.settle(self._hold, actual, Metering())

    def release(self) -> None:
        """Say that nothing was sent, so that nothing is charged."""
        self._calls.release(self._hold, why="the worker sent nothing")


@asynccontextmanager
async def spending(
    calls: Calls, worst: Amounts, *, what: str, whose: Caller
) -> AsyncIterator[Spending]:
    """Hold the worst case of a call while its block makes it; see `Context.spend`."""
    granted = await calls.place(what=what, amounts=worst, caller=whose)
    try:
        yield Spending(granted.hold, calls)
    except BaseException:
        calls.forfeit(granted.hold, why="the block was left by an exception")
        raise
    calls.settle(granted.hold, worst, Metering())
    await calls.flush()


def amounts_of(subject: str, *, usd: float, tokens: int, actions: int) -> Amounts:
    """Return what a worker says that a call costs, in USD, tokens and actions.

    Raises:
        InputRefused: these are no amounts.
    """
    amounts = (usd, tokens, actions)
    if not math.isfinite(usd) or min(amounts) < 0 or max(amounts) > _AMOUNT_MAX:
        raise InputRefused(
            subject=subject,
            what=f"{usd} USD, {tokens} tokens and {actions} actions are no amounts",
            fix=f"give amounts from 0 to {_AMOUNT_MAX:g}",
        )
    return Amounts(cost=micro_usd(usd), tokens=tokens, actions=actions)
