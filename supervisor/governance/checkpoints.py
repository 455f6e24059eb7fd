"""Labelled snapshots of a worker's durable state."""

from __future__ import annotations

from supervisor.clock import to_us
from supervisor.events import kinds
from supervisor.events.log import Journal, head_of
from supervisor.storage.database import Transaction
from supervisor.storage.memory import Later

_KEEP = Later(
    "governance.keep_checkpoint",
    "id",
    "worker",
    "label",
    "session_id",
    "event_seq",
    "tick",
    "state",
    "now",
    is_new=True,
)
_PERIODIC = "periodic"


def keep_checkpoint(
    tx: Transaction, journal: Journal, *, worker: str, tick: int, state: str, label: str
) -> str:
    """Keep the worker's state as of `tick` under `label`, and return the checkpoint's id.

    The id is the tick and the label: keeping it again changes nothing.
    """
    checkpoint_id = f"{worker}#{tick}:{label}"
    kept = tx.run(
        "governance.keep_checkpoint",
        id=checkpoint_id,
        worker=worker,
        label=label,
        session_id=journal.session_id,
        event_seq=head_of(tx, journal.session_id).last_seq,
        tick=tick,
        state=state,
        now=to_us(journal.origin.at),
    )
    if kept:
        journal.add(
            kinds.CheckpointCreated(worker=worker, checkpoint=checkpoint_id, label=label, tick=tick)
        )
    return checkpoint_id


def keep_periodic(tx: Transaction, journal: Journal, worker: str, tick: int, state: str) -> None:
    """Keep the worker's state at the end of a tick, which comes once."""
    checkpoint_id = f"{worker}#{tick}:{_PERIODIC}"
    tx.later(
        _KEEP,
        checkpoint_id,
        worker,
        _PERIODIC,
        journal.session_id,
        head_of(tx, journal.session_id).last_seq,
        tick,
        state,
        to_us(journal.origin.at),
    )
    journal.add(
        kinds.CheckpointCreated(worker=worker, checkpoint=checkpoint_id, label=_PERIODIC, tick=tick)
    )
