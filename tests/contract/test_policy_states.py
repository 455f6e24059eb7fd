"""Proposals and tickets move only as the code allows, whoever asks the database."""

from __future__ import annotations

from itertools import product

import pytest

from supervisor.governance.proposals import (
    PROPOSAL_MOVES,
    TICKET_MOVES,
    ProposalStatus,
    TicketStatus,
)
from supervisor.storage.database import Database, Transaction

_ENDED = {status for status in ProposalStatus if not PROPOSAL_MOVES[status]}


def _insert(tx: Transaction, status: ProposalStatus) -> None:
    tx.run(
        "approvals.propose",
        id="p",
        worker="w",
        session_id="s",
        tick=1,
        action="merge",
        resource="",
        content="{}",
        risk="low",
        tier="default",
        step="default_agent",
        reason="",
        status=status,
        code="",
        why="",
        is_counted=0,
        now=1,
        open_until=10,
        ended_at=1 if status in _ENDED else None,
    )


def _move(tx: Transaction, before: ProposalStatus, after: ProposalStatus) -> int:
    return tx.run(
        "approvals.move_proposal",
        id="p",
        before=before,
        status=after,
        code="",
        why="",
        open_until=10,
        ended_at=1 if after in _ENDED else None,
    )


#: Without a hold nothing is executed: that move needs more than this statement.
_PAIRS = [
    (before, after)
    for before, after in product(ProposalStatus, ProposalStatus)
    if ProposalStatus.EXECUTED not in (before, after)
]


@pytest.mark.parametrize(("before", "after"), _PAIRS)
async def test_a_proposal_moves_only_as_the_code_allows(
    database: Database, before: ProposalStatus, after: ProposalStatus
) -> None:
    await database.write(_insert, before)
    if after in PROPOSAL_MOVES[before] or before is after:
        assert await database.write(_move, before, after) == 1
        return
    with pytest.raises(Exception, match="illegal move of a proposal"):
        await database.write(_move, before, after)


@pytest.mark.parametrize("status", ["executed", "pending", "denied"])
async def test_nothing_is_executed_without_a_hold_and_only_what_is_approved_has_one(
    database: Database, status: str
) -> None:
    def execute(tx: Transaction) -> None:
        if status == "executed":
            _insert(tx, ProposalStatus.EXECUTED)
            return
        _insert(tx, ProposalStatus(status))
        assert tx.run("approvals.take_proposal", id="p", hold_id="h") == 0

    if status == "executed":
        with pytest.raises(Exception, match=r"(?i)check"):
            await database.write(execute)
        return
    await database.write(execute)


async def test_a_proposal_is_taken_once(database: Database) -> None:
    await database.write(_insert, ProposalStatus.APPROVED)

    def take(tx: Transaction, hold_id: str) -> int:
        return tx.run("approvals.take_proposal", id="p", hold_id=hold_id)

    assert [await database.write(take, hold) for hold in ("h1", "h2")] == [1, 0]


@pytest.mark.parametrize("late_us", [0, 1])
@pytest.mark.parametrize("status", ["approved", "denied"])
async def test_the_database_takes_no_decision_after_the_deadline(
    database: Database, status: str, late_us: int
) -> None:
    def ask(tx: Transaction) -> None:
        _insert(tx, ProposalStatus.PENDING)
        tx.run(
            "approvals.request",
            id="t",
            proposal_id="p",
            worker="w",
            session_id="s",
            is_draft=0,
            why="",
            now=1,
            deadline_at=10,
        )

    def decide(tx: Transaction) -> int:
        now = 10 + late_us
        return tx.run("approvals.decide", id="t", status=status, now=now, decided_by="a", why="")

    await database.write(ask)
    assert await database.write(decide) == (0 if late_us else 1)
    assert await database.write(decide) == 0


def test_a_ticket_leaves_pending_once_and_for_good() -> None:
    assert TICKET_MOVES[TicketStatus.PENDING] == set(TicketStatus) - {TicketStatus.PENDING}
    others = set(TicketStatus) - {TicketStatus.PENDING}
    assert all(TICKET_MOVES[status] == frozenset() for status in others)


async def test_the_risk_of_a_session_only_rises(database: Database) -> None:
    def put(tx: Transaction, points: int, level: str) -> None:
        tx.run(
            "approvals.set_session_risk", session_id="s", points=points, level=level, recent="[]"
        )

    await database.write(put, 5, "medium")
    for points, level in ((4, "medium"), (6, "low")):
        with pytest.raises(Exception, match="only rises"):
            await database.write(put, points, level)
    await database.write(put, 6, "high")
