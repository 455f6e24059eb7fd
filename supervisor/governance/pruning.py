"""Deleting what was retired, page by page: small transactions that hold up no tick."""

from __future__ import annotations

import msgspec

from supervisor.clock import to_us
from supervisor.events import approval_kinds, kinds
from supervisor.events.event import Event
from supervisor.events.kinds import KINDS
from supervisor.events.log import Origin
from supervisor.governance.pruning_ended import prune_ended
from supervisor.governance.retention import DAY_US
from supervisor.governance.sums import Export
from supervisor.storage.database import Transaction, Value

PAGE_ROWS = 200
#: Longer than any period that the clock ends: what is older counts only for ever.
_USAGE_DAYS = 62
_LIVES_KEPT = 100


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What a page has deleted: rows of events, whole sessions, and other rows."""

    events: int = 0
    sessions: int = 0
    others: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(
            events=self.events + other.events,
            sessions=self.sessions + other.sessions,
            others=self.others + other.others,
        )


class _Row(msgspec.Struct, frozen=True):
    session_id: str
    seq: int
    kind: str
    payload: str


class _Id(msgspec.Struct, frozen=True):
    id: str | None


class _Usage(msgspec.Struct, frozen=True, kw_only=True):
    day_at: int
    last_at: int
    worker: str
    model: str
    org: str
    team: str
    user_id: str
    cost: int
    tokens: int
    actions: int


def prune_page(tx: Transaction, origin: Origin, *, checkpoints_kept: int) -> Pruned:
    """Delete a page of what was retired, and return what; nothing where all of it is gone.

    With each event goes what it has made: a hold, a tick, a proposal with its ticket and grant.
    A session's row goes last. Then commands from before the last export's cut, lives, effects,
    alerts and incidents that were over before it, and checkpoints beyond the newest
    `checkpoints_kept` of each worker. Doing it again goes on where it ended.
    """
    rows = tx.rows("retention.retiring_events", _Row, rows_max=PAGE_ROWS)
    if rows:
        return _prune_events(tx, rows)
    emptied = tx.row("retention.emptied_session", _Id)
    if emptied is not None and emptied.id is not None:
        return _prune_session(tx, emptied.id)
    others = _prune_others(tx, checkpoints_kept)
    if not others:
        tx.run("retention.pruned", now=to_us(origin.at))
    return Pruned(others=others)


def _prune_events(tx: Transaction, rows: list[_Row]) -> Pruned:
    others = 0
    for row in rows:
        event = msgspec.json.decode(row.payload, type=KINDS[row.kind])
        others += _prune_made(tx, event)
    last = rows[-1]
    events = tx.run("retention.drop_events", session_id=last.session_id, seq=last.seq)
    return Pruned(events=events, others=others)


def _prune_made(tx: Transaction, event: Event) -> int:
    """Delete what `event` tells of that has no other event to go with."""
    match event:
        case kinds.HoldPlaced(hold=hold):
            return _prune_hold(tx, hold)
        case kinds.CycleCompleted() | kinds.CycleSkipped() | kinds.CycleRecovered():
            return tx.run("retention.drop_tick", worker=event.worker, number=event.tick)
        case approval_kinds.ProposalMade(proposal=proposal):
            grants = tx.run("retention.drop_grants", proposal_id=proposal)
            tickets = tx.run("retention.drop_tickets", proposal_id=proposal)
            return grants + tickets + tx.run("retention.drop_proposal", id=proposal)
        case _:
            return 0


def _prune_hold(tx: Transaction, hold_id: str) -> int:
    """Delete a hold, and keep what it has used: a limit that is set later counts it."""
    for hold in tx.copies("retention.copy_hold", id=hold_id):
        placed_at = _number(hold["placed_at"])
        tx.run(
            "retention.add_usage",
            day_at=placed_at // DAY_US * DAY_US,
            last_at=placed_at,
            worker=hold["worker"],
            model=hold["model"],
            org=hold["org"],
            team=hold["team"],
            user_id=hold["user_id"],
            cost=hold["cost_settled"],
            tokens=hold["tokens_settled"],
            actions=hold["actions_settled"],
        )
    return tx.run("retention.drop_hold", id=hold_id)


def _number(value: Value) -> int:
    assert isinstance(value, int), value
    return value


def _prune_session(tx: Transaction, session_id: str) -> Pruned:
    others = tx.run("retention.drop_risk", session_id=session_id)
    others += tx.run("retention.drop_steers", session_id=session_id)
    tx.run("retention.drop_retiring", session_id=session_id)
    return Pruned(sessions=tx.run("retention.drop_session", session_id=session_id), others=others)


def _prune_others(tx: Transaction, checkpoints_kept: int) -> int:
    export = tx.row("retention.last_export", Export)
    gone = 0
    if export is not None:
        cut_at = export.cut_at
        gone += tx.run("retention.drop_commands", cut_at=cut_at, rows_max=PAGE_ROWS)
        gone += tx.run("retention.drop_lives", cut_at=cut_at, lives_kept=_LIVES_KEPT)
        gone += _fold_usage(tx, cut_at - _USAGE_DAYS * DAY_US)
        gone += prune_ended(tx, cut_at)
    old = tx.rows(
        "retention.old_checkpoints", _Id, checkpoints_kept=checkpoints_kept, rows_max=PAGE_ROWS
    )
    for checkpoint in old:
        gone += tx.run("retention.drop_checkpoint", id=checkpoint.id)
    return gone


def _fold_usage(tx: Transaction, before: int) -> int:
    """Add days that lie before every period into one, so that there are never more of them."""
    days = tx.rows("retention.old_usage", _Usage, before=before, rows_max=PAGE_ROWS)
    for usage in days:
        columns = msgspec.structs.asdict(usage)
        tx.run("retention.add_usage", **columns | {"day_at": 0})
        keys = ("day_at", "worker", "model", "org", "team", "user_id")
        tx.run("retention.drop_usage", **{key: columns[key] for key in keys})
    return len(days)
