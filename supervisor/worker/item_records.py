"""The transactions of a loop over items: where it begins, and each item that is done."""

from __future__ import annotations

import msgspec

from supervisor.errors import Refusal
from supervisor.events.log import Journal, Origin
from supervisor.governance.breaker import Asker
from supervisor.governance.gates import first_refusal, look
from supervisor.jobs import progress
from supervisor.jobs.job import JobRequest
from supervisor.jobs.progress import DoneItem, Loop, Progress, WorkTakenAway
from supervisor.jobs.queue import enqueue_all
from supervisor.storage.database import Transaction


class CommittedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item that is done, with the jobs that it wants and the worker's state, None as it was."""

    item: DoneItem
    jobs: tuple[JobRequest, ...]
    state: str | None


def begin_items(
    tx: Transaction, session_id: str, origin: Origin, loop: Loop, total: int | None
) -> Progress | Refusal:
    """Pass the gates, and begin a loop where it was left."""
    refusal = first_refusal(look(tx, Asker(worker=loop.worker, tick=loop.tick), now=origin.at))
    if refusal is not None:
        return refusal
    if not progress.is_at_work(tx, loop):
        return WorkTakenAway(owner=loop.owner)
    with Journal(tx, session_id, origin) as journal:
        return progress.begin_loop(tx, journal, loop, total)


def begin_items_anew(
    tx: Transaction, session_id: str, origin: Origin, loop: Loop, total: int | None
) -> Progress | Refusal:
    """Begin a loop with its first item again: its items are others than before."""
    if not progress.is_at_work(tx, loop):
        return WorkTakenAway(owner=loop.owner)
    with Journal(tx, session_id, origin) as journal:
        return progress.begin_anew(tx, journal, loop, total)


def commit_item(
    tx: Transaction,
    session_id: str,
    origin: Origin,
    loop: Loop,
    done: CommittedItem,
) -> Refusal | None:
    """Commit an item with what its worker keeps of it; a refusal where it is not its own any more.

    Raises:
        CommandConflict: a job that it wants has the key of another.
    """
    if not progress.is_at_work(tx, loop):
        return WorkTakenAway(owner=loop.owner)
    with Journal(tx, session_id, origin) as journal:
        progress.end_item(tx, journal, loop, done.item)
        enqueue_all(tx, [(journal, request) for request in done.jobs])
    if done.state is not None:
        tx.run("workers.keep_state", name=loop.worker, state=done.state)
    return None
