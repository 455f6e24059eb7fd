"""The case of closing a breaker."""

from __future__ import annotations

from supervisor.events.log import Origin
from supervisor.governance.breaker import BreakerRules, Cause
from supervisor.governance.breaker_commands import CloseBreaker, close_breaker
from supervisor.governance.breakers import trip
from supervisor.governance.rotation import system_journal
from supervisor.storage.database import Transaction
from tests.contract.command_case import Case, origin_of, sender
from tests.contract.policy_bench import UTC_ZONE, PolicyBench


async def closing_breaker(bench: PolicyBench) -> Case:
    """Return the case, with two breakers that are open."""
    for worker in ("w", "v"):
        origin = origin_of(bench, "")
        await bench.store.write(_open, f"worker:{worker}", origin)
    command = CloseBreaker(name="worker:w", why="x")
    send = sender(bench, close_breaker, UTC_ZONE)
    return Case(send=send, content=command, others={"name": "worker:v", "why": "y"})


def _open(tx: Transaction, name: str, origin: Origin) -> None:
    with system_journal(tx, UTC_ZONE, origin) as journal:
        trip(tx, journal, name, BreakerRules(), cause=Cause.OVERRUN, why="dear")
