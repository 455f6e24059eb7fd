"""The kinds of events of upkeep: stuck sessions, restores, drills, rollbacks, a clock put right."""

from __future__ import annotations

from supervisor.events.event import Event


class DaemonDied(Event, frozen=True, kw_only=True):
    """A daemon's life was over without having said so; `seen_at` is its last heartbeat."""

    kind = "daemon_died"
    boot_id: str
    seen_at: int


class SessionStuck(Event, frozen=True, kw_only=True):
    """A session had no event for `idle_s` while its tick ran: the tick is cancelled."""

    kind = "session_stuck"
    worker: str
    tick: int
    idle_s: float
    stuck_after_s: float


class RollbackRequested(Event, frozen=True, kw_only=True):
    """Somebody asked to put a worker's state back to a checkpoint's."""

    kind = "rollback_requested"
    worker: str
    checkpoint: str


class RollbackFailed(Event, frozen=True, kw_only=True):
    """A rollback was asked for and not made; nothing was restored."""

    kind = "rollback_failed"
    worker: str
    checkpoint: str
    why: str


class AccountCarried(Event, frozen=True, kw_only=True):
    """What an account has settled was raised to what is known, or feared, to be spent of it."""

    kind = "account_carried"
    account: str
    before: int
    settled: int
    why: str


class StoreRestored(Event, frozen=True, kw_only=True):
    """An older store was put back by a named actor; `backup_at` is the last thing that it knew.

    `is_known` says that the store before it could be read and proved, so that what was spent since
    is carried over. Else `cost`, `tokens` and `actions` are what the actor said was spent since;
    one that is None is not known and counts as all that each limit allows.
    """

    kind = "store_restored"
    backup_at: int
    backup_sha256: str
    is_known: bool
    kept_as: str
    why: str
    cost: int | None = None
    tokens: int | None = None
    actions: int | None = None


class LedgerClockReset(Event, frozen=True, kw_only=True):
    """The ledger's clock was put back to the wall clock by a named actor; nothing was refunded."""

    kind = "ledger_clock_reset"
    clock_before: int
    clock_at: int
    why: str


class DrillPassed(Event, frozen=True, kw_only=True):
    """A rehearsal of a safety went as it must; `measured_s` is the span that it measured."""

    kind = "drill_passed"
    drill: str
    id: str
    measured_s: float
    what: str


class DrillFailed(Event, frozen=True, kw_only=True):
    """A rehearsal of a safety showed that it does not hold, or could not be held."""

    kind = "drill_failed"
    drill: str
    id: str
    why: str


class WindowsRetired(Event, frozen=True, kw_only=True):
    """Closed windows were exported to a durable file, proved, and are pruned from here on.

    `sha256` is the file's, `sums_sha256` the seal of the sums that stay of them and of those of
    the exports before.
    """

    kind = "windows_retired"
    number: int
    file: str
    sha256: str
    sums_sha256: str
    sessions: int
    events: int


class SessionAborted(Event, frozen=True, kw_only=True):
    """A person has ended a session before its window was over; the last event, as it is sealed."""

    kind = "session_aborted"
    worker: str
    reason: str
    why: str
