"""Ending, in a store that was put back, what was approved: it may have been used since."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from supervisor.clock import to_us
from supervisor.events import approval_kinds
from supervisor.events.log import Origin
from supervisor.governance.approvals import home_journal
from supervisor.governance.proposals import (
    Ending,
    ProposalStatus,
    StoredProposal,
    move_proposal,
)
from supervisor.storage.database import Transaction

_WHY = "the store was restored: whether it was executed since the backup is not known"


def end_approvals(tx: Transaction, origin: Origin, timezone: ZoneInfo) -> int:
    """Fail each approval that waits for its execution, and return how many there were.

    The store before the restore may have let it be executed: this one would let it be once more.
    One that is being executed is left to recovery, which says that its outcome is unknown.
    """
    unused = tx.rows("restore.unused_approvals", StoredProposal)
    ending = Ending(code="restored", why=_WHY)
    for stored in unused:
        moved = move_proposal(
            tx, stored, ProposalStatus.FAILED, now=to_us(origin.at), ending=ending
        )
        assert moved, f"proposal {stored.id} was approved a moment ago, in this transaction"
        with home_journal(tx, stored, origin, timezone) as journal:
            action = stored.proposal.action
            journal.add(approval_kinds.ExecutionFailed(proposal=stored.id, action=action, why=_WHY))
    return len(unused)


def end_grants(tx: Transaction) -> int:
    """Let no session grant cover anything more, and return how many were ended.

    How much of each was drawn since the backup is not known.
    """
    return tx.run("restore.end_grants")
