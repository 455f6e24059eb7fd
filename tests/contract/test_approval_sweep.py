"""What nobody decided, followed up or executed in time is ended, in the open; and recovery."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from supervisor import ActionDenied, Context, Outcome
from supervisor.clock import VirtualClock
from supervisor.events.log import EventRow
from supervisor.governance.audit import audit
from supervisor.governance.backlog import Backlog, read_backlog
from supervisor.governance.proposals import ProposalStatus, TicketStatus
from supervisor.maintenance.recovery import recover
from supervisor.storage.database import Database, Transaction
from supervisor.worker.actions import Approved, Draft, Ticket
from tests.contract.policy_bench import CALM, SURE, UTC_ZONE, PolicyBench, policy_of


@pytest.fixture
def policy_bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    bench = PolicyBench(database, clock, tmp_path)
    bench.use(CALM)
    return bench


async def ask(bench: PolicyBench, *, number: int = 1) -> list[Ticket]:
    async def work(ctx: Context) -> list[Ticket]:
        answers = [await ctx.propose("merge", **SURE) for _ in range(number)]
        return [answer for answer in answers if isinstance(answer, Ticket)]

    return await bench.tick(work)


async def backlog(bench: PolicyBench) -> Backlog:
    return await bench.store.read(read_backlog)


async def test_a_backlog_of_overdue_tickets_is_cleared_page_by_page(
    policy_bench: PolicyBench,
) -> None:
    for _ in range(3):
        assert len(await ask(policy_bench, number=150)) == 150
    assert (await backlog(policy_bench)).pending == 450
    assert (await policy_bench.sweep()).tickets == 0
    policy_bench.clock.advance(3600 + 10)
    assert (await policy_bench.sweep()).tickets == 450
    assert (await backlog(policy_bench)).pending == 0
    assert len(await policy_bench.events("approval_timed_out")) == 450
    assert (await policy_bench.sweep()).tickets == 0


async def test_expired_is_not_a_persons_denial(policy_bench: PolicyBench) -> None:
    tickets = await ask(policy_bench, number=2)
    await policy_bench.deny(tickets[0].id)
    policy_bench.clock.advance(3601)
    await policy_bench.sweep()
    found = [await policy_bench.ticket(ticket.id) for ticket in tickets]
    assert [ticket.status for ticket in found] == [TicketStatus.DENIED, TicketStatus.EXPIRED]
    stored = [await policy_bench.proposal(ticket.proposal_id) for ticket in tickets]
    assert [one.code for one in stored] == ["person", "expired"]
    (denied,) = await policy_bench.events("approval_denied")
    assert denied["code"] == "person"
    assert sorted(await policy_bench.unnoticed()) == ["w", "w"]


async def test_a_ticket_of_a_session_that_is_over_is_recorded_in_the_systems(
    policy_bench: PolicyBench,
) -> None:
    (ticket,) = await ask(policy_bench)
    policy_bench.clock.advance(3600)

    async def nothing(_: Context) -> None:
        return

    await policy_bench.tick(nothing)  # rotates: the ticket's session is sealed
    await policy_bench.sweep()
    assert (await policy_bench.ticket(ticket.id)).status is TicketStatus.EXPIRED

    def rows(tx: Transaction) -> list[EventRow]:
        wide = {"session_id": None, "worker": None, "correlation_id": None, "since": None}
        return tx.rows(
            "events.after",
            EventRow,
            position=0,
            kind="approval_timed_out",
            rows_max=10,
            **wide,
        )

    (row,) = await policy_bench.store.read(rows)
    assert row.session_id.startswith("system@")
    assert row.correlation_id == "w#1"
    assert (await policy_bench.store.read(audit)).is_clean


async def test_what_was_approved_and_not_executed_in_time_has_failed(
    policy_bench: PolicyBench,
) -> None:
    (ticket,) = await ask(policy_bench)
    await policy_bench.approve(ticket.id)
    policy_bench.clock.advance(86_400 + 1)

    async def late(ctx: Context) -> None:
        assert await ctx.approved() == []

    await policy_bench.tick(late)
    assert (await policy_bench.sweep()).proposals == 1
    (failed,) = await policy_bench.events("execution_failed")
    assert str(failed["why"]).startswith("it was approved and not executed before")
    stored = await policy_bench.proposal(ticket.proposal_id)
    assert (stored.status, stored.hold_id) == (ProposalStatus.FAILED, None)


async def test_an_approval_is_not_used_after_its_time_even_before_the_sweep(
    policy_bench: PolicyBench,
) -> None:
    (ticket,) = await ask(policy_bench)
    await policy_bench.approve(ticket.id)

    async def late(ctx: Context) -> str:
        (approved,) = await ctx.approved()
        policy_bench.clock.advance(86_400 + 1)
        with pytest.raises(ActionDenied) as caught:
            await approved.__aenter__()
        return caught.value.reason

    assert await policy_bench.tick(late) == "expired"


async def test_a_steered_proposal_that_is_not_followed_up_expires(
    policy_bench: PolicyBench,
) -> None:
    async def close(ctx: Context) -> str:
        return (await ctx.propose("close_issue", **SURE)).proposal_id

    proposal_id = await policy_bench.tick(close)
    policy_bench.clock.advance(3601)
    assert (await policy_bench.sweep()).proposals == 1
    assert (await policy_bench.proposal(proposal_id)).status is ProposalStatus.EXPIRED
    assert len(await policy_bench.events("proposal_expired")) == 1


async def test_an_execution_in_flight_is_not_swept(policy_bench: PolicyBench) -> None:
    async def slow(ctx: Context) -> None:
        async with await ctx.propose("note", **SURE):
            policy_bench.clock.advance(2 * 86_400)
            assert (await policy_bench.sweep()).proposals == 0

    assert (await policy_bench.tick_end(slow)).outcome is Outcome.OK
    assert len(await policy_bench.events("execution_completed")) == 1


async def test_an_execution_that_its_tick_leaves_open_has_failed_with_it(
    policy_bench: PolicyBench,
) -> None:
    kept: list[object] = []

    async def leaves_it_open(ctx: Context) -> None:
        kept.append(await ctx.propose("note", cost_usd=0.02, **SURE))
        await kept[0].__aenter__()  # type: ignore[attr-defined] # it is an answer

    assert (await policy_bench.tick_end(leaves_it_open)).outcome is Outcome.OK
    (failed,) = await policy_bench.events("execution_failed")
    assert (failed["why"], failed["is_outcome_unknown"]) == ("the tick ok", True)
    assert (await policy_bench.proposal("w#1.p1")).status is ProposalStatus.FAILED
    assert (await policy_bench.day()).settled == 20_000


async def test_recovery_closes_the_execution_of_a_dead_life_and_nobody_repeats_it(
    policy_bench: PolicyBench,
) -> None:
    kept: list[object] = []  # else it would be collected, which ends it

    async def dies(ctx: Context) -> None:
        kept.append(await ctx.propose("note", command_id="n", cost_usd=0.02, **SURE))
        await kept[0].__aenter__()  # type: ignore[attr-defined] # it is an answer

    await policy_bench.abandon(dies)
    found = await recover(
        policy_bench.store,
        boot_id="boot-2",
        clock=policy_bench.clock,
        timezone=UTC_ZONE,
        workers={"w"},
    )
    assert (found.ticks, found.holds) == (1, 1)
    (failed,) = await policy_bench.events("execution_failed")
    assert failed["is_outcome_unknown"] is True
    assert (await policy_bench.day()).settled == 20_000

    async def again(ctx: Context) -> None:
        await ctx.propose("note", command_id="n", cost_usd=0.02, **SURE)

    policy_bench.kernel.boot_id = "boot-2"
    end = await policy_bench.tick_end(again)
    assert isinstance(end.refusal, ActionDenied)
    assert end.refusal.reason == "failed"
    assert (await policy_bench.store.read(audit)).is_clean


async def test_an_irreversible_action_of_a_dry_run_is_a_draft_and_others_say_that_it_is_one(
    policy_bench: PolicyBench,
) -> None:
    live = policy_of(auto_approve=("tag_issue",))
    auto = msgspec.structs.replace(live.auto, dry_run_only=True)
    policy_bench.use(msgspec.structs.replace(live, auto=auto))

    async def work(ctx: Context) -> tuple[object, object]:
        return await ctx.propose("tag_issue", **SURE), await ctx.propose("pay", **SURE)

    first, second = await policy_bench.tick(work)
    assert isinstance(first, Ticket)
    assert first.why == "[policy.auto] dry_run_only = true, and the session is live"
    assert isinstance(second, Draft)

    async def dry(ctx: Context) -> bool:
        answer = await ctx.propose("tag_issue", **SURE)
        assert isinstance(answer, Approved)
        async with answer as execution:
            return execution.is_dry_run

    assert await policy_bench.dry_tick(dry) is True
