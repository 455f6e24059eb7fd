"""After a kill: nothing that an agent can reach proposes, executes or approves anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from supervisor import Context, KillSwitchEngaged
from supervisor.clock import VirtualClock
from supervisor.errors import Refusal
from supervisor.events.log import Origin
from supervisor.governance import kill_switch
from supervisor.governance.approvals import Decided
from supervisor.governance.executions import begin_execution
from supervisor.governance.kill_switch import KillCommand
from supervisor.governance.policy import route
from supervisor.governance.proposals import Proposal, TicketStatus, execution_hold_id
from supervisor.governance.proposing import Judgement, ProposalRequest, propose
from supervisor.governance.risk import Assessment, Risk
from supervisor.governance.rotation import open_session_of, pause_session
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.holds import HoldRequest
from supervisor.storage.database import Database, Transaction
from supervisor.worker.actions import Approved, Ticket
from supervisor.worker.placing import place
from tests.contract.policy_bench import CALM, SURE, UTC_ZONE, PolicyBench


@pytest.fixture
def policy_bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    bench = PolicyBench(database, clock, tmp_path)
    bench.use(CALM)
    return bench


class Reached(msgspec.Struct, frozen=True):
    """What an agent of one session could still try to use."""

    worker: str
    session_id: str
    approved: str
    ticket: str


async def prepare(bench: PolicyBench, number: int) -> Reached:
    """Open a session with an approved action and a ticket in it; every second one is paused."""
    worker = f"w{number}"

    async def work(ctx: Context) -> Reached:
        approved = await ctx.propose("note", **SURE)
        ticket = await ctx.propose("merge", command_id="m", **SURE)
        assert isinstance(approved, Approved)
        assert isinstance(ticket, Ticket)
        return Reached(worker, ctx.session.id, approved.proposal_id, ticket.id)

    reached = await bench.tick(work, name=worker)
    if number % 2:
        await bench.store.write(_pause, worker, bench.origin())
    return reached


def _pause(tx: Transaction, worker: str, origin: Origin) -> None:
    session = open_session_of(tx, worker)
    assert session is not None
    pause_session(tx, session, origin, why="a person looks at it")


async def kill(bench: PolicyBench, scope: str, *, is_engaged: bool = True) -> None:
    turn = kill_switch.engage if is_engaged else kill_switch.release
    await bench.store.write(turn, KillCommand(scope=scope, why="drill"), bench.origin(), UTC_ZONE)


def hold_request(reached: Reached, hold_id: str) -> HoldRequest:
    return HoldRequest(
        id=hold_id,
        boot_id="boot-1",
        worker=reached.worker,
        session_id=reached.session_id,
        tick=1,
        model="",
        what="note",
        amounts=Amounts(cost=1, tokens=1, actions=1),
    )


async def every_answer(bench: PolicyBench, reached: Reached) -> list[object]:
    """Try every mutating operation that an agent can reach, and return the answers."""
    proposal = Proposal(action="note", resource="issue:7", score=1.0)
    policy, budgets = bench.kernel.policy.actions, bench.kernel.policy.budgets
    judged = Judgement(
        route=route(policy, proposal, reached.worker),
        assessment=Assessment(risk=Risk.LOW, why=""),
    )
    asked = ProposalRequest(
        id=f"{reached.worker}:late",
        worker=reached.worker,
        session_id=reached.session_id,
        tick=1,
        proposal=proposal,
        judgement=judged,
    )
    write, origin = bench.store.write, bench.origin
    execution = hold_request(reached, execution_hold_id(reached.approved))
    call = hold_request(reached, f"{reached.worker}#late")
    return [
        await write(propose, asked, policy, UTC_ZONE, origin()),
        await write(
            begin_execution, execution, reached.approved, budgets, policy.session_risk, origin()
        ),
        await write(place, call, None, budgets, origin()),
        await bench.approve(reached.ticket),
    ]


async def _proposes(ctx: Context) -> None:
    await ctx.propose("note", **SURE)


async def test_a_kill_in_the_middle_of_a_tick_refuses_what_follows_in_it(
    policy_bench: PolicyBench,
) -> None:
    refused: list[str] = []

    async def collect(attempt: Callable[[], Awaitable[object]]) -> None:
        try:
            await attempt()
        except Refusal as refusal:
            refused.append(refusal.code)

    async def work(ctx: Context) -> None:
        approved = await ctx.propose("note", **SURE)
        await kill(policy_bench, "worker:w")
        await collect(lambda: ctx.propose("note", **SURE))
        await collect(lambda: ctx.propose("note", command_id="again", **SURE))
        await collect(approved.__aenter__)

    await policy_bench.tick(work)
    assert refused == ["kill_switch_engaged"] * 3


@pytest.mark.parametrize("scope", ["system", "worker:w0", "session"])
async def test_a_kill_that_reaches_the_worker_leaves_its_tickets_undecided_but_deniable(
    policy_bench: PolicyBench, scope: str
) -> None:
    reached = await prepare(policy_bench, 0)
    scope = f"session:{reached.session_id}" if scope == "session" else scope
    await kill(policy_bench, scope)
    assert isinstance(await policy_bench.approve(reached.ticket), KillSwitchEngaged)
    assert (await policy_bench.ticket(reached.ticket)).status is TicketStatus.PENDING
    await kill(policy_bench, scope, is_engaged=False)
    await kill(policy_bench, scope)
    assert isinstance(await policy_bench.deny(reached.ticket), Decided)


async def test_a_release_by_name_lets_what_was_approved_before_be_executed(
    policy_bench: PolicyBench,
) -> None:
    reached = await prepare(policy_bench, 0)
    await kill(policy_bench, "system")
    await kill(policy_bench, "system", is_engaged=False)
    assert isinstance(await policy_bench.approve(reached.ticket), Decided)
    (released,) = await policy_bench.events("kill_switch_released")
    assert released["scope"] == "system"


async def test_a_paused_session_proposes_and_executes_nothing(policy_bench: PolicyBench) -> None:
    reached = await prepare(policy_bench, 1)
    answers = await every_answer(policy_bench, reached)
    codes = [answer.code for answer in answers if isinstance(answer, Refusal)]
    assert codes == ["session_not_active"] * 3
    # A person may decide about it: nothing runs before the session is resumed.
    assert isinstance(answers[3], Decided)
