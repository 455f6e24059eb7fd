"""What an audit finds of proposals, tickets and grants that were written behind the events."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor import Context
from supervisor.clock import VirtualClock
from supervisor.governance.audit import audit
from supervisor.governance.proposals import ticket_id
from supervisor.governance.session_grants import Scope
from supervisor.storage.database import Database, Transaction, Value
from tests.contract.policy_bench import SURE, PolicyBench
from tests.databases import RawConnection


@pytest.fixture
def policy_bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    return PolicyBench(database, clock, tmp_path)


async def lived(bench: PolicyBench) -> str:
    """Let every kind of proposal and decision happen, and return a ticket that waits."""

    async def first(ctx: Context) -> None:
        async with await ctx.propose("tag_issue", **SURE):
            pass
        for number in range(4):
            await ctx.propose("merge", command_id=f"m{number}", **SURE)
        await ctx.propose("close_issue", **SURE)
        await ctx.propose("send_email", **SURE)

    async def second(ctx: Context) -> None:
        for number in (0, 1):
            async with await ctx.propose("merge", command_id=f"m{number}", **SURE):
                pass

    await bench.tick_end(first)
    await bench.approve(ticket_id("w:m0"), Scope(count_max=3))
    await bench.deny(ticket_id("w:m2"))
    await bench.tick_end(second)
    assert len(await bench.events("execution_completed")) == 3
    return ticket_id("w:m3")


async def findings(bench: PolicyBench) -> list[str]:
    return [finding.subject for finding in (await bench.store.read(audit)).findings]


async def test_a_life_with_every_decision_is_sound(policy_bench: PolicyBench) -> None:
    waiting = await lived(policy_bench)
    assert await findings(policy_bench) == []
    policy_bench.clock.advance(3601)
    await policy_bench.sweep()
    assert (await policy_bench.ticket(waiting)).status == "expired"
    assert await findings(policy_bench) == []


ROW: dict[str, Value] = {"code": "", "why": "", "open_until": 1, "ended_at": None}


def _approve(tx: Transaction) -> None:
    tx.run("approvals.move_proposal", id="w:m3", before="pending", status="approved", **ROW)


def _take(tx: Transaction) -> None:
    _approve(tx)
    tx.run("approvals.take_proposal", id="w:m3", hold_id="exec:w:m3")


def _decide(tx: Transaction) -> None:
    waiting = ticket_id("w:m3")
    tx.run("approvals.decide", id=waiting, status="approved", now=1, decided_by="x", why="")


def _draw(tx: Transaction) -> None:
    tx.run("approvals.draw", id=ticket_id("w:m0"), cost=0, now=1)


def _raise(tx: Transaction) -> None:
    values: dict[str, Value] = {"points": 99, "level": "high", "recent": "[]"}
    tx.run("approvals.set_session_risk", session_id="w@2026-06-01T10:00Z", **values)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (_approve, ["proposal w:m3"]),
        (_take, ["proposal w:m3", "proposal w:m3"]),
        (_decide, [f"ticket {ticket_id('w:m3')}"]),
        (_draw, [f"session grant {ticket_id('w:m0')}"]),
        (_raise, ["risk of session w@2026-06-01T10:00Z"]),
    ],
)
async def test_what_no_event_tells_of_is_found(
    policy_bench: PolicyBench, damage: object, found: list[str]
) -> None:
    await lived(policy_bench)
    assert callable(damage)
    await policy_bench.store.write(damage)
    assert await findings(policy_bench) == found


@pytest.mark.parametrize(
    ("operation", "found"), [("approve", "command decision-1"), ("deny", "command decision-2")]
)
async def test_a_decision_whose_command_is_gone_is_found(
    policy_bench: PolicyBench, raw: RawConnection, operation: str, found: str
) -> None:
    await lived(policy_bench)
    raw.drop_rules()
    assert raw.run("DELETE FROM commands WHERE operation = ?", operation) == 1
    assert await findings(policy_bench) == [found]
