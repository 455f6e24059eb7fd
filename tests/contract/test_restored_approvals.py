"""A restore lets nothing be executed on an approval that may have been used since the backup."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from supervisor import ActionDenied, Context
from supervisor.clock import VirtualClock
from supervisor.errors import IllegalMove
from supervisor.governance.approvals import Decided
from supervisor.governance.audit import audit
from supervisor.governance.kept import Kept, backup_facts, read_kept
from supervisor.governance.proposals import ProposalStatus, TicketStatus
from supervisor.governance.restoring import RestoreCommand, Restored, record_restore
from supervisor.governance.session_grants import Scope
from supervisor.storage.database import Database, Transaction
from supervisor.worker.actions import Answer, Approved, Ticket
from tests.contract.policy_bench import CALM, UTC_ZONE, PolicyBench


@pytest.fixture
def policy_bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    bench = PolicyBench(database, clock, tmp_path)
    bench.use(CALM)
    return bench


async def propose(bench: PolicyBench, command_id: str, *, action: str = "merge") -> Answer:
    async def work(ctx: Context) -> Answer:
        return await ctx.propose(action, resource="issue:7", score=0.9, command_id=command_id)

    return await bench.tick(work)


async def asked(bench: PolicyBench, command_id: str) -> Ticket:
    ticket = await propose(bench, command_id)
    assert isinstance(ticket, Ticket)
    return ticket


async def put_back(
    bench: PolicyBench, *, decided: Sequence[str] = (), is_known: bool = True
) -> Restored:
    """Record a restore of this very store, so that no kill and no used-up limit hides the rule.

    `decided` are the tickets of which the store before says that they were decided since.
    """

    def read(tx: Transaction) -> Kept:
        kept = read_kept(tx, backup_facts(tx))
        still = [ticket for ticket in kept.tickets if ticket not in decided]
        return msgspec.structs.replace(kept, tickets=still)

    kept = await bench.store.read(read) if is_known else None
    command = RestoreCommand(backup_sha256="", why="a test")
    return await bench.store.write(
        record_restore, command, kept, bench.origin(command_id="restore-1"), UTC_ZONE
    )


async def test_what_was_approved_once_is_not_executed_after_a_restore(
    policy_bench: PolicyBench,
) -> None:
    ticket = await asked(policy_bench, "by a person")
    assert isinstance(await policy_bench.approve(ticket.id), Decided)
    by_policy = await propose(policy_bench, "by the policy", action="note")
    assert isinstance(by_policy, Approved)
    assert (await put_back(policy_bench)).approvals == 2
    for approved in (ticket, by_policy):
        assert (await policy_bench.proposal(approved.proposal_id)).status is ProposalStatus.FAILED
    assert len(await policy_bench.events("execution_failed")) == 2

    async def execute(ctx: Context) -> None:
        await ctx.propose("merge", resource="issue:7", score=0.9, command_id="by a person")

    refusal = (await policy_bench.tick_end(execute)).refusal
    assert isinstance(refusal, ActionDenied)
    assert "the store was restored" in str(refusal)
    assert (await policy_bench.store.read(audit)).findings == ()


async def test_a_session_grant_covers_nothing_after_a_restore(policy_bench: PolicyBench) -> None:
    ticket = await asked(policy_bench, "first")
    assert isinstance(await policy_bench.approve(ticket.id, Scope(count_max=3)), Decided)
    assert isinstance(await propose(policy_bench, "second"), Approved)
    assert (await put_back(policy_bench)).grants == 1
    assert isinstance(await propose(policy_bench, "third"), Ticket)
    assert (await policy_bench.store.read(audit)).findings == ()


async def test_a_ticket_of_which_it_is_known_that_it_waits_goes_on_waiting(
    policy_bench: PolicyBench,
) -> None:
    ticket = await asked(policy_bench, "first")
    assert (await put_back(policy_bench)).tickets == 0
    assert (await policy_bench.ticket(ticket.id)).status is TicketStatus.PENDING
    assert isinstance(await policy_bench.approve(ticket.id), Decided)
    assert isinstance(await propose(policy_bench, "first"), Approved)


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_ticket_that_may_have_been_approved_since_can_not_be_approved_again(
    policy_bench: PolicyBench, is_known: bool
) -> None:
    ticket = await asked(policy_bench, "first")
    restored = await put_back(policy_bench, decided=[ticket.id], is_known=is_known)
    assert restored.tickets == 1
    assert (await policy_bench.ticket(ticket.id)).status is TicketStatus.DENIED
    assert (await policy_bench.proposal(ticket.proposal_id)).status is ProposalStatus.DENIED
    assert isinstance(await policy_bench.approve(ticket.id), IllegalMove)
    (denied,) = await policy_bench.events("approval_denied")
    assert denied["code"] == "restored"
    assert (await policy_bench.store.read(audit)).findings == ()


async def test_a_ticket_that_is_overdue_at_the_restore_has_expired_and_was_not_denied(
    policy_bench: PolicyBench, clock: VirtualClock
) -> None:
    ticket = await asked(policy_bench, "first")
    clock.advance(policy_bench.kernel.policy.actions.ticket_deadline_s + 1)
    assert (await put_back(policy_bench, is_known=False)).tickets == 1
    assert (await policy_bench.ticket(ticket.id)).status is TicketStatus.EXPIRED
    assert await policy_bench.events("approval_denied") == []
    assert (await policy_bench.store.read(audit)).findings == ()
