"""What a store that is about to be replaced knows, and the one put in its place must not forget."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from supervisor.governance.breaker import Breaker
from supervisor.governance.kill_switch import Latch, engaged
from supervisor.governance.restored_approvals import pending_tickets
from supervisor.governance.session import DAEMON_STOPPED
from supervisor.ledger.carrying import RunningAccount, Used, running_accounts, used_since
from supervisor.storage.database import Transaction

_DAY_US = 86_400 * 1_000_000


class _LastEvent(msgspec.Struct, frozen=True):
    at: int
    position: int


class _Head(msgspec.Struct, frozen=True):
    id: str
    last_seq: int
    last_hash: bytes


class _Hash(msgspec.Struct, frozen=True):
    hash: bytes


class _Moment(msgspec.Struct, frozen=True):
    at: int


class PausedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that waits for a person, or that one has aborted."""

    id: str
    worker: str
    why: str


class BackupFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself: the last moment that it knows, and the ends of its chains."""

    at: int
    ledger_at: int
    heads: Sequence[_Head]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What must outlive the store: money, kills, open breakers, what waits for a person.

    `is_descendant` says that the store is a later state of the backup, so that its balances hold
    the backup's in them; else they are of another history, and are added. `tickets` are those of
    which it is known that nobody has decided them.
    """

    is_descendant: bool
    ledger_at: int
    accounts: Sequence[RunningAccount]
    used: Sequence[Used]
    latches: Sequence[Latch]
    breakers: Sequence[Breaker]
    paused: Sequence[PausedSession]
    tickets: Sequence[str] = ()


def backup_facts(tx: Transaction) -> BackupFacts:
    """Read what a backup says of itself."""
    last = tx.row("restore.last_event", _LastEvent)
    return BackupFacts(
        at=0 if last is None else last.at,
        ledger_at=_ledger_at(tx),
        heads=tx.rows("restore.open_heads", _Head),
    )


def read_kept(tx: Transaction, backup: BackupFacts) -> Kept:
    """Read what the store knows and `backup`, which is to replace it, may not."""
    ledger_at = _ledger_at(tx)
    is_descendant = descends_from(tx, backup)
    return Kept(
        is_descendant=is_descendant,
        ledger_at=ledger_at,
        accounts=running_accounts(tx, max(ledger_at, backup.ledger_at)),
        used=used_since(tx, holds_since(backup)),
        latches=engaged(tx),
        breakers=tx.rows("restore.breakers_not_closed", Breaker),
        paused=tx.rows("restore.paused_sessions", PausedSession, stopped=DAEMON_STOPPED),
        # In another history a ticket of this name is another one.
        tickets=[ticket.id for ticket in pending_tickets(tx)] if is_descendant else (),
    )


def descends_from(tx: Transaction, backup: BackupFacts) -> bool:
    """Return whether the store is a later state of the backup: it has the ends of its chains."""
    return bool(backup.heads) and all(_has(tx, head) for head in backup.heads)


def holds_since(backup: BackupFacts) -> int:
    """Return from when on both stores' holds are compared: a day before the backup's end.

    What was open then has ended since; both have the holds from before, so that they cancel out.
    """
    return backup.at - _DAY_US


def _has(tx: Transaction, head: _Head) -> bool:
    found = tx.row("restore.hash_of_event", _Hash, session_id=head.id, seq=head.last_seq)
    return found is not None and found.hash == head.last_hash


def _ledger_at(tx: Transaction) -> int:
    row = tx.row("ledger.clock", _Moment)
    assert row is not None, "the store has lost its ledger clock"
    return row.at
