"""What becomes of a worker's proposals, from the proposal to its one execution."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from supervisor import ActionDenied, ApprovalRequired, BudgetExceeded, Context, Outcome
from supervisor.clock import VirtualClock
from supervisor.errors import CommandConflict, IllegalMove
from supervisor.governance.approvals import Decided
from supervisor.governance.audit import audit
from supervisor.governance.proposals import ProposalStatus, TicketStatus
from supervisor.storage.database import Database
from supervisor.worker.actions import Approved, Draft, Guidance, Ticket
from tests.contract.policy_bench import CALM, SURE, PolicyBench, policy_of


@pytest.fixture
def policy_bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    return PolicyBench(database, clock, tmp_path)


async def tag(ctx: Context) -> str:
    answer = await ctx.propose("tag_issue", cost_usd=0.02, tokens=10, **SURE)
    async with answer as execution:
        execution.settle(usd=0.01, tokens=4)
    return answer.proposal_id


async def ask_to_merge(ctx: Context) -> Ticket:
    answer = await ctx.propose("merge", command_id="merge-7", **SURE)
    assert isinstance(answer, Ticket), answer
    return answer


async def merge(ctx: Context) -> None:
    async with await ctx.propose("merge", command_id="merge-7", **SURE):
        pass


async def test_an_auto_approved_action_is_executed_under_its_hold_and_settled_with_it(
    policy_bench: PolicyBench,
) -> None:
    proposal_id = await policy_bench.tick(tag)
    stored = await policy_bench.proposal(proposal_id)
    assert (stored.status, stored.hold_id) == (ProposalStatus.EXECUTED, f"exec:{proposal_id}")
    assert (stored.tier, stored.step, stored.risk) == ("auto_approve", "policy_list", "low")
    assert stored.reason == "'tag_issue' is on [policy] auto_approve"
    day = await policy_bench.day()
    assert (day.settled, day.held) == (10_000, 0)
    wanted = (
        "proposal_made",
        "risk_assessed",
        "approval_granted",
        "hold_placed",
        "execution_started",
        "hold_settled",
        "execution_completed",
    )
    kinds = [event["kind"] for event in await policy_bench.events(*wanted)]
    assert kinds == list(wanted)
    assert (await policy_bench.store.read(audit)).is_clean


async def test_a_ticket_is_approved_by_a_person_and_executed_once(
    policy_bench: PolicyBench,
) -> None:
    ticket = await policy_bench.tick(ask_to_merge)
    assert not isinstance(ticket, Draft)
    decided = await policy_bench.approve(ticket.id)
    assert isinstance(decided, Decided)
    assert (decided.status, decided.action) == (TicketStatus.APPROVED, "merge")
    assert await policy_bench.unnoticed() == ["w"]
    end = await policy_bench.tick_end(merge)
    assert end.outcome is Outcome.OK
    again = await policy_bench.tick_end(merge)
    assert isinstance(again.refusal, ActionDenied)
    assert again.refusal.reason == "executed"
    (granted,) = await policy_bench.events("approval_granted")
    assert (granted["by"], granted["ticket"]) == ("ann", ticket.id)
    assert len(await policy_bench.events("execution_completed")) == 1


async def test_entering_what_waits_for_a_person_ends_the_tick_as_refused(
    policy_bench: PolicyBench,
) -> None:
    end = await policy_bench.tick_end(merge)
    assert end.outcome is Outcome.REFUSED
    assert isinstance(end.refusal, ApprovalRequired)
    assert await policy_bench.events("execution_started", "hold_placed") == []
    (requested,) = await policy_bench.events("approval_requested")
    assert end.refusal.ticket == requested["ticket"]


async def test_a_denied_ticket_is_told_as_a_persons_denial(policy_bench: PolicyBench) -> None:
    ticket = await policy_bench.tick(ask_to_merge)
    await policy_bench.deny(ticket.id)
    end = await policy_bench.tick_end(merge)
    assert isinstance(end.refusal, ActionDenied)
    assert end.refusal.reason == "person"
    assert "ann" in str(end.refusal)


async def test_a_blocked_an_unknown_and_an_out_of_scope_action_are_denied(
    policy_bench: PolicyBench,
) -> None:
    scoped = policy_of(blocked=("send_email",), unrestricted=("note",))
    policy_bench.use(scoped.__class__(lists=scoped.lists, resources=("issue:*",)))
    asked = (("send_email", "issue:1"), ("fly", "issue:1"), ("note", "repo:1"), ("note", ""))
    for action, resource in asked:

        async def work(ctx: Context, action: str = action, resource: str = resource) -> None:
            await ctx.propose(action, resource=resource, score=1.0)

        end = await policy_bench.tick_end(work)
        assert isinstance(end.refusal, ActionDenied), action
        assert end.refusal.reason == "blocked"
    denied = await policy_bench.events("approval_denied")
    assert [event["code"] for event in denied] == ["blocked"] * 4
    assert len(await policy_bench.events("proposal_made")) == 4


async def test_an_irreversible_action_that_the_config_does_not_name_is_a_draft(
    policy_bench: PolicyBench,
) -> None:
    policy_bench.use(policy_of(unrestricted=("pay",)))

    async def pay(ctx: Context) -> object:
        return await ctx.propose("pay", **SURE)

    assert isinstance(await policy_bench.tick(pay), Approved)
    policy_bench.use(policy_of(unrestricted=("*",)))

    async def work(ctx: Context) -> list[object]:
        names = ("send", "post", "pay", "delete")
        return [await ctx.propose(name, **SURE) for name in names]

    answers = await policy_bench.tick(work)
    assert [type(answer) for answer in answers] == [Draft] * 4


async def test_steering_is_counted_and_ends_in_a_ticket(policy_bench: PolicyBench) -> None:
    async def close(ctx: Context) -> object:
        return await ctx.propose("close_issue", **SURE)

    left = []
    for _ in range(3):
        answer = await policy_bench.tick(close)
        assert isinstance(answer, Guidance)
        left.append(answer.attempts_left)
    assert left == [2, 1, 0]
    assert isinstance(await policy_bench.tick(close), Ticket)
    steered = await policy_bench.events("proposal_steered")
    assert [event["attempt"] for event in steered] == [1, 2, 3]


async def test_an_execution_that_raises_has_failed_and_its_hold_is_forfeited(
    policy_bench: PolicyBench,
) -> None:
    async def work(ctx: Context) -> None:
        async with await ctx.propose("note", cost_usd=0.02, **SURE):
            raise ValueError("broken")

    with pytest.raises(Exception, match="w"):
        await policy_bench.tick_end(work)
    (failed,) = await policy_bench.events("execution_failed")
    assert failed["is_outcome_unknown"] is True
    assert (await policy_bench.day()).settled == 20_000
    stored = await policy_bench.proposal("w#1.p1")
    assert stored.status is ProposalStatus.FAILED


async def test_an_execution_can_say_that_it_failed_or_did_nothing(
    policy_bench: PolicyBench,
) -> None:
    async def work(ctx: Context) -> None:
        async with await ctx.propose("note", cost_usd=0.02, **SURE) as execution:
            execution.fail("the server said 404", usd=0.001)
        async with await ctx.propose("note", cost_usd=0.02, **SURE) as execution:
            execution.release()

    assert (await policy_bench.tick_end(work)).outcome is Outcome.OK
    failed = await policy_bench.events("execution_failed")
    assert [event["why"] for event in failed] == ["the server said 404", "the worker did nothing"]
    assert not any("is_outcome_unknown" in event for event in failed)
    assert (await policy_bench.day()).settled == 1_000
    assert (await policy_bench.store.read(audit)).is_clean


async def test_what_does_not_fit_is_not_executed_and_may_be_later(
    policy_bench: PolicyBench,
) -> None:
    policy_bench.use(policy_bench.kernel.policy.actions, cap=1_000)

    async def work(ctx: Context) -> None:
        async with await ctx.propose("note", command_id="n", cost_usd=0.02, **SURE):
            pass

    end = await policy_bench.tick_end(work)
    assert isinstance(end.refusal, BudgetExceeded)
    assert (await policy_bench.proposal("w:n")).status is ProposalStatus.APPROVED
    policy_bench.clock.advance(86_400 - 60)
    policy_bench.use(policy_bench.kernel.policy.actions, cap=100_000)
    assert (await policy_bench.tick_end(work)).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("action", {}),
        ("resource", {"resource": "issue:8"}),
        ("reasoning", {"reasoning": "because"}),
        ("cost", {"cost_usd": 0.02}),
        ("tokens", {"tokens": 5}),
        ("weight", {"weight": 1.0}),
        ("score", {"score": 0.8}),
        ("risk_factors", {"risk_factors": ("new",)}),
        ("metadata", {"metadata": {"a": 1}}),
    ],
)
async def test_the_same_command_id_with_other_content_names_the_field(
    policy_bench: PolicyBench, field: str, other: dict[str, object]
) -> None:
    async def first(ctx: Context) -> None:
        await ctx.propose("note", command_id="n", **SURE)

    async def second(ctx: Context) -> str:
        action = "tag_issue" if field == "action" else "note"
        given = {**SURE, **other}
        with pytest.raises(CommandConflict) as caught:
            await ctx.propose(action, command_id="n", **given)  # type: ignore[arg-type] # of a test
        return str(caught.value)

    await policy_bench.tick_end(first)
    assert f"with {field} " in await policy_bench.tick(second)
    assert len(await policy_bench.events("proposal_made")) == 1


async def test_a_worker_asks_about_its_own_proposals_only(policy_bench: PolicyBench) -> None:
    first = await policy_bench.tick(ask_to_merge, name="w")
    second = await policy_bench.tick(ask_to_merge, name="v")
    assert first.id != second.id


async def test_a_ticket_one_second_overdue_can_not_be_approved(policy_bench: PolicyBench) -> None:
    ticket = await policy_bench.tick(ask_to_merge)
    policy_bench.clock.advance(3601)
    refused = await policy_bench.approve(ticket.id)
    assert isinstance(refused, IllegalMove)
    assert "is expired" in str(refused)
    assert (await policy_bench.ticket(ticket.id)).status is TicketStatus.EXPIRED
    assert (await policy_bench.proposal("w:merge-7")).status is ProposalStatus.EXPIRED
    (timed_out,) = await policy_bench.events("approval_timed_out")
    assert timed_out["ticket"] == ticket.id
    end = await policy_bench.tick_end(merge)
    assert isinstance(end.refusal, ActionDenied)
    assert end.refusal.reason == "expired"
    assert await policy_bench.events("approval_granted", "approval_denied") == []


async def test_at_its_deadline_a_ticket_can_still_be_approved(policy_bench: PolicyBench) -> None:
    ticket = await policy_bench.tick(ask_to_merge)
    left_s = (ticket.deadline - policy_bench.clock.now()).total_seconds()
    policy_bench.clock.advance(left_s)
    assert isinstance(await policy_bench.approve(ticket.id), Decided)


async def test_16_deciders_on_one_ticket_and_one_wins(policy_bench: PolicyBench) -> None:
    ticket = await policy_bench.tick(ask_to_merge)
    answers: list[object] = []

    async def decide(number: int) -> None:
        act = policy_bench.approve if number % 2 else policy_bench.deny
        answers.append(await act(ticket.id))

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(decide, number)
    won = [answer for answer in answers if isinstance(answer, Decided)]
    lost = [answer for answer in answers if isinstance(answer, IllegalMove)]
    assert (len(won), len(lost)) == (1, 15)
    status = (await policy_bench.ticket(ticket.id)).status
    assert status is won[0].status
    assert all(f"is {status}" in str(answer) for answer in lost)
    assert len(await policy_bench.events("approval_granted", "approval_denied")) == 1


@pytest.mark.parametrize("time", range(20))
async def test_64_executions_at_once_against_a_cap_of_10_actions(
    policy_bench: PolicyBench, time: int
) -> None:
    policy_bench.use(CALM, actions_max=10)
    refused: list[BudgetExceeded] = []

    async def one(ctx: Context, number: int) -> None:
        answer = await ctx.propose("note", command_id=f"{time}-{number}", **SURE)
        try:
            async with answer:
                await anyio.lowlevel.checkpoint()
        except BudgetExceeded as refusal:
            refused.append(refusal)

    async def work(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(64):
                tasks.start_soon(one, ctx, number)

    assert (await policy_bench.tick_end(work)).outcome is Outcome.OK
    assert len(await policy_bench.events("execution_completed")) == 10
    assert len(refused) == 54
    assert {refusal.unit for refusal in refused} == {"actions"}
