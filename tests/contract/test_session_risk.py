"""What a session's actions add up to, and what that does to those that follow."""

from __future__ import annotations

from pathlib import Path

import anyio
import msgspec
import pytest

from supervisor import Context
from supervisor.clock import VirtualClock
from supervisor.governance.policy import Tier
from supervisor.governance.risk import Risk, SessionRisk, SessionRiskRules
from supervisor.governance.session_risk import session_risk
from supervisor.storage.database import Database
from supervisor.worker.actions import Answer, Approved, Ticket
from tests.contract.policy_bench import POLICY, SURE, PolicyBench

SESSION = "w@2026-06-01T10:00Z"


@pytest.fixture
def policy_bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    return PolicyBench(database, clock, tmp_path)


async def propose(bench: PolicyBench, action: str, **details: object) -> Answer:
    async def work(ctx: Context) -> Answer:
        given = {**SURE, **details}
        return await ctx.propose(action, **given)  # type: ignore[arg-type] # of a test

    return await bench.tick(work)


async def risk_of(bench: PolicyBench) -> SessionRisk:
    return await bench.store.read(session_risk, SESSION)


async def test_five_low_actions_make_a_session_medium(policy_bench: PolicyBench) -> None:
    answers = [await propose(policy_bench, "tag_issue") for _ in range(7)]
    # The fifth still passes: what follows it is judged by the higher risk.
    assert [answer.is_approved for answer in answers] == [True] * 5 + [False] * 2
    # What waits for a person is no action yet.
    assert (await risk_of(policy_bench)).points == 5
    (escalated,) = await policy_bench.events("session_risk_escalated")
    assert (escalated["before"], escalated["after"], escalated["points"]) == ("low", "medium", 5)


async def test_what_a_person_has_approved_is_counted_when_it_is_executed(
    policy_bench: PolicyBench,
) -> None:
    ticket = await propose(policy_bench, "merge", command_id="m", score=0.6)
    assert isinstance(ticket, Ticket)
    await policy_bench.approve(ticket.id)
    assert (await risk_of(policy_bench)).points == 0

    async def merge(ctx: Context) -> None:
        (approved,) = await ctx.approved()
        async with approved:
            pass

    await policy_bench.tick_end(merge)
    assert await risk_of(policy_bench) == SessionRisk(points=3, level=Risk.LOW, recent=("merge",))


async def test_at_high_risk_not_even_what_is_unrestricted_goes_on_alone(
    policy_bench: PolicyBench,
) -> None:
    rules = SessionRiskRules(high=10)
    policy_bench.use(msgspec.structs.replace(POLICY, session_risk=rules))
    # A high risk: nobody is sure of it.
    assert isinstance(await propose(policy_bench, "note", score=0.1), Approved)
    answer = await propose(policy_bench, "note")
    assert isinstance(answer, Ticket)
    assert answer.why == "the session's risk is high (10 points)"


async def test_at_medium_risk_what_is_unrestricted_is_judged_by_the_auto_rule(
    policy_bench: PolicyBench,
) -> None:
    assert isinstance(await propose(policy_bench, "note", score=0.1), Approved)
    answer = await propose(policy_bench, "note")
    assert isinstance(answer, Ticket)
    assert answer.why == "its risk is low, its session's is medium (5 points), above low"


async def test_what_is_blocked_or_steered_is_no_action(policy_bench: PolicyBench) -> None:
    await propose(policy_bench, "close_issue")
    assert (await risk_of(policy_bench)).points == 0


async def test_the_next_session_begins_at_low(policy_bench: PolicyBench) -> None:
    for _ in range(6):
        await propose(policy_bench, "tag_issue")
    policy_bench.clock.advance(3600)
    assert isinstance(await propose(policy_bench, "tag_issue"), Approved)


async def test_a_pattern_raises_the_action_that_completes_it_and_the_session(
    policy_bench: PolicyBench,
) -> None:
    rules = SessionRiskRules(medium_from=1_000, high_from=1_000, patterns=(("note", "tag_issue"),))
    policy_bench.use(msgspec.structs.replace(POLICY, session_risk=rules))
    assert isinstance(await propose(policy_bench, "tag_issue"), Approved)
    assert isinstance(await propose(policy_bench, "note"), Approved)
    answer = await propose(policy_bench, "tag_issue")
    assert isinstance(answer, Ticket)
    assert answer.why == "it completes the pattern note > tag_issue"
    (escalated,) = await policy_bench.events("session_risk_escalated")
    assert escalated["pattern"] == ["note", "tag_issue"]
    assert isinstance(await propose(policy_bench, "note"), Ticket)


async def test_a_pattern_looks_back_ten_actions_and_no_further(policy_bench: PolicyBench) -> None:
    rules = SessionRiskRules(medium_from=1_000, high_from=1_000, patterns=(("note", "tag_issue"),))
    lists = {**POLICY.lists, Tier.UNRESTRICTED: ("note", "tag_other")}
    policy_bench.use(msgspec.structs.replace(POLICY, lists=lists, session_risk=rules))
    await propose(policy_bench, "note")
    for _ in range(9):
        assert (await propose(policy_bench, "tag_other")).is_approved
    # The tag is the eleventh: the note has been forgotten.
    assert isinstance(await propose(policy_bench, "tag_issue"), Approved)


async def test_proposals_at_once_are_counted_one_after_the_other(
    policy_bench: PolicyBench,
) -> None:
    approved: list[bool] = []

    async def one(ctx: Context) -> None:
        approved.append((await ctx.propose("tag_issue", **SURE)).is_approved)

    async def work(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(32):
                tasks.start_soon(one, ctx)

    await policy_bench.tick(work)
    assert sum(approved) == 5
    assert (await risk_of(policy_bench)).points == 5
