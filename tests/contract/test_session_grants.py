"""Approving for a session: how far it goes, and never beyond what a person has allowed."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from supervisor import ActionDenied, Context
from supervisor.clock import VirtualClock
from supervisor.errors import SupervisorError, UsageError
from supervisor.governance.approvals import Decided
from supervisor.governance.session_grants import Scope, SessionGrant, find_grant
from supervisor.storage.database import Database
from supervisor.worker.actions import Answer, Approved, Ticket
from tests.contract.policy_bench import CALM, PolicyBench

ISSUE = "issue:7"


@pytest.fixture
def policy_bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    bench = PolicyBench(database, clock, tmp_path)
    bench.use(CALM)
    return bench


async def propose(
    bench: PolicyBench, *, resource: str = ISSUE, usd: float = 0.0, command_id: str | None = None
) -> Answer:
    async def work(ctx: Context) -> Answer:
        return await ctx.propose(
            "merge", resource=resource, score=0.9, cost_usd=usd, command_id=command_id
        )

    return await bench.tick(work)


async def granted(bench: PolicyBench, scope: Scope, *, usd: float = 0.0) -> Ticket:
    """Return a ticket that a person has approved for the session."""
    ticket = await propose(bench, usd=usd, command_id="first")
    assert isinstance(ticket, Ticket)
    assert isinstance(await bench.approve(ticket.id, scope), Decided)
    return ticket


async def grant_of(bench: PolicyBench, ticket: Ticket) -> SessionGrant:
    found = await bench.store.read(find_grant, ticket.id)
    assert found is not None
    return found


async def execute(bench: PolicyBench, *command_ids: str | None) -> tuple[int, int]:
    """Let takers propose and execute at once; return how many did, and how many did not."""
    done: list[str] = []
    asked: list[str] = []

    async def take(ctx: Context, command_id: str | None) -> None:
        try:
            answer = await ctx.propose("merge", resource=ISSUE, score=0.9, command_id=command_id)
            if not answer.is_approved:
                asked.append(answer.proposal_id)
                return
            async with answer:
                done.append(answer.proposal_id)
        except ActionDenied as denied:
            asked.append(str(denied))

    async def work(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for command_id in command_ids:
                tasks.start_soon(take, ctx, command_id)

    await bench.tick(work)
    return len(done), len(asked)


async def test_a_count_of_3_and_16_takers_and_3_execute(policy_bench: PolicyBench) -> None:
    ticket = await granted(policy_bench, Scope(count_max=3))
    assert await execute(policy_bench, *[None] * 16) == (3, 13)
    assert (await grant_of(policy_bench, ticket)).count_used == 3
    assert len(await policy_bench.events("execution_completed")) == 3


async def test_the_tickets_own_proposal_counts_among_them(policy_bench: PolicyBench) -> None:
    await granted(policy_bench, Scope(count_max=3))
    assert await execute(policy_bench, "first", *[None] * 15) == (3, 13)


async def test_the_tickets_own_proposal_is_not_executed_beyond_the_count(
    policy_bench: PolicyBench,
) -> None:
    await granted(policy_bench, Scope(count_max=3))
    assert await execute(policy_bench, None, None, None) == (3, 0)
    assert await execute(policy_bench, "first") == (0, 1)
    assert len(await policy_bench.events("execution_completed")) == 3


async def test_the_cost_is_counted_together(policy_bench: PolicyBench) -> None:
    await granted(policy_bench, Scope(cost_max=100_000), usd=0.04)
    kinds = [type(await propose(policy_bench, usd=0.04)) for _ in range(4)]
    assert kinds == [Approved, Approved, Ticket, Ticket]
    assert isinstance(await propose(policy_bench, usd=0.02), Approved)
    assert isinstance(await propose(policy_bench, usd=0.000001), Ticket)


async def test_it_covers_the_tickets_own_resource_unless_told_otherwise(
    policy_bench: PolicyBench,
) -> None:
    await granted(policy_bench, Scope())
    assert isinstance(await propose(policy_bench, resource="issue:8"), Ticket)
    assert isinstance(await propose(policy_bench), Approved)


async def test_a_resource_that_an_agent_calls_a_star_covers_only_itself(
    policy_bench: PolicyBench,
) -> None:
    ticket = await propose(policy_bench, resource="*", command_id="first")
    assert isinstance(ticket, Ticket)
    await policy_bench.approve(ticket.id, Scope())
    assert isinstance(await propose(policy_bench), Ticket)
    assert isinstance(await propose(policy_bench, resource="*"), Approved)


async def test_it_covers_the_resources_that_a_person_names(policy_bench: PolicyBench) -> None:
    await granted(policy_bench, Scope(resources=("issue:*", "pr:1")))
    resources = ("issue:8", "pr:1", "pr:2")
    answers = [await propose(policy_bench, resource=resource) for resource in resources]
    assert [answer.is_approved for answer in answers] == [True, True, False]


async def test_it_ends_when_it_expires(policy_bench: PolicyBench) -> None:
    await granted(policy_bench, Scope(expires_s=60.0))
    assert isinstance(await propose(policy_bench), Approved)
    policy_bench.clock.advance(60)
    assert isinstance(await propose(policy_bench), Ticket)


async def test_it_ends_with_the_session(policy_bench: PolicyBench) -> None:
    await granted(policy_bench, Scope(count_max=100))
    assert isinstance(await propose(policy_bench), Approved)
    policy_bench.clock.advance(3600)
    assert isinstance(await propose(policy_bench), Ticket)


async def test_it_is_for_the_worker_and_the_action_of_its_ticket(
    policy_bench: PolicyBench,
) -> None:
    await granted(policy_bench, Scope(resources=("*",)))

    async def work(ctx: Context) -> list[bool]:
        return [
            (await ctx.propose(action, resource=ISSUE, score=0.9)).is_approved
            for action in ("merge", "pay")
        ]

    assert await policy_bench.tick(work) == [True, False]
    assert await policy_bench.tick(work, name="v") == [False, False]


async def test_a_ticket_that_waited_already_is_covered_when_its_worker_asks_again(
    policy_bench: PolicyBench,
) -> None:
    waiting = await propose(policy_bench, command_id="second")
    assert isinstance(waiting, Ticket)
    await granted(policy_bench, Scope(count_max=2))
    assert isinstance(await propose(policy_bench, command_id="second"), Approved)
    assert (await policy_bench.ticket(waiting.id)).decided_by == "ann"
    assert await execute(policy_bench, "second", "first") == (2, 0)
    assert isinstance(await propose(policy_bench), Ticket)


@pytest.mark.parametrize(
    "scope",
    [
        Scope(count_max=0),
        Scope(cost_max=9_999),
        Scope(expires_s=0.0),
        Scope(resources=("pr:*",)),
    ],
)
async def test_a_scope_that_does_not_cover_its_own_ticket_is_refused(
    policy_bench: PolicyBench, scope: Scope
) -> None:
    ticket = await propose(policy_bench, usd=0.01, command_id="first")
    assert isinstance(ticket, Ticket)
    with pytest.raises(UsageError):
        await policy_bench.approve(ticket.id, scope)
    assert await policy_bench.events("approval_granted") == []
    assert isinstance(await policy_bench.approve(ticket.id), Decided)


async def test_a_denial_has_no_scope(policy_bench: PolicyBench) -> None:
    from supervisor.governance.approvals import deny
    from tests.contract.policy_bench import TERMS

    ticket = await propose(policy_bench, command_id="first")
    assert isinstance(ticket, Ticket)
    order = policy_bench.order(ticket.id, Scope())
    with pytest.raises(SupervisorError, match="for this proposal alone"):
        await policy_bench.store.write(deny, order, policy_bench.origin(), TERMS)
