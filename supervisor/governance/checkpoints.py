"""Labelled snapshots of a worker's durable state."""

from __future__ import annotations

from supervisor.clock import to_us
from supervisor.events import kinds
from supervisor.events.log import Journal
from supervisor.governance.rotation import find_session
from supervisor.storage.database import Transaction


def keep_checkpoint(
    tx: Transaction, journal: Journal, *, worker: str, tick: int, state: str, label: str
) -> str:
    """Keep the worker's state as of `tick` under `label`, and return the checkpoint's id.

    The id is the tick and the label: keeping it again changes nothing.
    """
    checkpoint_id = f"{worker}#{tick}:{label}"
    session = find_session(tx, journal.session_id)
    assert session is not None, f"session {journal.session_id} is gone"
    kept = tx.run(
        "governance.keep_checkpoint",
        id=checkpoint_id,
        worker=worker,
        label=label,
        session_id=session.id,
        event_seq=session.last_seq,
        tick=tick,
        state=state,
        now=to_us(journal.origin.at),
    )
    if kept:
        journal.add(
            kinds.CheckpointCreated(worker=worker, checkpoint=checkpoint_id, label=label, tick=tick)
        )
    return checkpoint_id
