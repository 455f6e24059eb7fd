"""What stays of events that were exported and pruned: the sums that the audit begins with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from supervisor.governance.retired_days import RetiredDay, retired_since
from supervisor.governance.sound_rows import BEFORE_ALL
from supervisor.storage.database import Transaction


class AccountSum(msgspec.Struct, frozen=True, kw_only=True):
    """What the retired events of an account add up to, in its unit.

    `limit_at` is the position of the event that set the limit, 0 where none of them did.
    """

    id: str
    limit_amount: int
    limit_at: int
    settled: int
    held: int
    overrun: int


class WorkerSum(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's last retired tick, 0 for none, and its last retired session."""

    worker: str
    last_tick: int
    last_session: str


class StateSum(msgspec.Struct, frozen=True, kw_only=True):
    """Where retired events left a kill, a breaker or the ledger's clock, and at which position."""

    subject: str
    state: str
    at_position: int


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table of exports; `cut_at`, `exported_at` and `pruned_at` in microseconds.

    What it holds lies below the position `until`, but not all that does is in it: a session that
    was open then is in a later one.
    """

    number: int
    file: str
    sha256: str
    bytes: int
    sessions: int
    events: int
    until: int
    cut_at: int
    sums_sha256: str
    exported_at: int
    pruned_at: int | None = None


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """All that stays of what was retired, and the export that it is of; None where none was."""

    accounts: Mapping[str, AccountSum]
    workers: Mapping[str, WorkerSum]
    states: Mapping[str, StateSum]
    export: Export | None = None
    days: tuple[RetiredDay, ...] = ()

    @property
    def until(self) -> int:
        """The position below which events may be missing: they are in the sums."""
        return 0 if self.export is None else self.export.until

    @property
    def cut_at(self) -> int:
        """The moment before which commands may be missing, in microseconds since 1970 UTC."""
        return 0 if self.export is None else self.export.cut_at

    def covers(self, position: int, at: int) -> bool:
        """Whether others of an event's time may be missing, or what they tell of be pruned."""
        return position < self.until or at < self.cut_at

    @property
    def sha256(self) -> str:
        """The seal: of every sum, in one order."""
        parts = (self.accounts, self.workers, self.states)
        listed: list[list[msgspec.Struct]] = [[part[key] for key in sorted(part)] for part in parts]
        if self.days:
            listed.append(list(self.days))
        return hashlib.sha256(msgspec.json.encode(listed)).hexdigest()


def read_sums(tx: Transaction) -> Sums:
    """Return what stays of everything that was retired so far; empty where nothing was."""
    return Sums(
        accounts={one.id: one for one in tx.each("retention.account_sums", AccountSum)},
        workers={one.worker: one for one in tx.each("retention.worker_sums", WorkerSum)},
        states={one.subject: one for one in tx.each("retention.state_sums", StateSum)},
        export=tx.row("retention.last_export", Export),
        days=tuple(retired_since(tx, BEFORE_ALL)),
    )
