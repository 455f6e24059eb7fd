"""Which windows are old enough to go, and the transactions in which they go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import to_us
from supervisor.events import upkeep_kinds
from supervisor.events.log import Origin
from supervisor.governance.retired_days import RetiredDay, keep_days
from supervisor.governance.rotation import (
    SYSTEM,
    SessionPlan,
    adopt_or_rotate,
    is_due,
    open_session_of,
    system_journal,
)
from supervisor.governance.sums import (
    AccountSum,
    Export,
    StateSum,
    Sums,
    WorkerSum,
    read_sums,
)
from supervisor.storage.database import Transaction
from supervisor.windows import DAY_S

DAY_US = 86_400_000_000
#: So many days of the system go into one export, unless what began in them ended later.
DAYS_MAX = 7


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Windows that may go together: all that belongs to them lies below the position `until`.

    `cut_at`, in microseconds, is when the first window began that stays. `held_back` are workers
    that have older windows which must stay, as somebody or something still waits for them. `seen`
    is the last position when this was read.
    """

    number: int
    sessions: tuple[str, ...]
    until: int
    cut_at: int
    seen: int
    held_back: tuple[str, ...] = ()


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A durable export: its file, and what stays in the store of all that it holds.

    `staying` are the accounts that events name which stay; `days` what its windows were worth
    looking at.
    """

    file: str
    sha256: str
    bytes: int
    events: int
    sums: Sums
    staying: frozenset[str] = frozenset()
    days: tuple[RetiredDay, ...] = ()


class _Window(msgspec.Struct, frozen=True):
    id: str
    window_start: int


class _NextWindow(_Window, frozen=True):
    opened_at: int


class _Position(msgspec.Struct, frozen=True):
    position: int


class _Candidate(msgspec.Struct, frozen=True):
    id: str
    worker: str
    may_go: bool
    is_old: bool


class _HoldId(msgspec.Struct, frozen=True):
    id: str


class _AccountIds(msgspec.Struct, frozen=True):
    account_ids: str


class _Balance(msgspec.Struct, frozen=True):
    id: str
    limit_amount: int
    settled: int
    held: int
    overrun: int


def system_is_due(tx: Transaction, now: datetime) -> bool:
    """Return whether the system's own window is over and nothing has begun the next one."""
    session = open_session_of(tx, SYSTEM)
    return session is not None and is_due(session, now)


def rotate_system(tx: Transaction, origin: Origin, timezone: ZoneInfo) -> None:
    """Begin the system's window of today: where nothing happens to it, nothing else does.

    Windows go by whole days of the system, so that its own must end.
    """
    if system_is_due(tx, origin.at):
        adopt_or_rotate(tx, SessionPlan(worker=SYSTEM, span_s=DAY_S, timezone=timezone), origin)


def choose_batch(tx: Transaction, *, cut_us: int, days_max: int) -> Batch | None:
    """Return the oldest windows that are over since before `cut_us`, None where there are none.

    They go by whole days of the system's own session, so that what it records of other sessions
    goes with them; of each worker its oldest ones, without a gap; and only such as nobody waits
    for: no open hold, running tick, pending ticket, approval that may be used, or live kill.
    """
    days = tx.rows(
        "retention.old_system_windows", _Window, system=SYSTEM, cut=cut_us, rows_max=days_max
    )
    following = _first_that_stays(tx, days)
    if following is None:
        return None
    first = tx.row("retention.first_position", _Position, session_id=following.id)
    assert first is not None, f"session {following.id} was opened by no event"
    candidates = tx.rows(
        "retention.windows_before",
        _Candidate,
        cut=cut_us,
        until=first.position,
        before=following.window_start,
        old=following.window_start - DAY_US,
    )
    going, held_back = _oldest_of_each(candidates)
    last, newest = tx.row("retention.last_export", Export), tx.row("retention.newest", _Position)
    return Batch(
        number=1 if last is None else last.number + 1,
        sessions=going,
        until=first.position,
        cut_at=following.opened_at,
        seen=0 if newest is None else newest.position,
        held_back=held_back,
    )


def _first_that_stays(tx: Transaction, days: Sequence[_Window]) -> _NextWindow | None:
    """Return the day of the system behind the last one that can go, None where none can.

    Not before a hold that was put right, or recovered, in a later day: what tells of it would stay.
    """
    for day in reversed(days):
        following = tx.row(
            "retention.next_window", _NextWindow, worker=SYSTEM, after=day.window_start
        )
        if following is None:
            return None
        if tx.row("retention.ended_later", _HoldId, cut_at=following.opened_at) is None:
            return following
    return None


def _oldest_of_each(candidates: Sequence[_Candidate]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sessions that go, and the workers of which an old one stays."""
    going: list[str] = []
    staying: dict[str, bool] = {}
    for candidate in candidates:
        if candidate.may_go and candidate.worker not in staying:
            going.append(candidate.id)
        else:
            is_held_back = staying.get(candidate.worker, False) or candidate.is_old
            staying[candidate.worker] = is_held_back
    return tuple(going), tuple(worker for worker, is_held in staying.items() if is_held)


class RetireCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Let the windows of a batch go; their export is durable."""

    batch: Batch
    sealed: Sealed


def retire(
    tx: Transaction, command: RetireCommand, origin: Origin, timezone: ZoneInfo
) -> Export | None:
    """Count the batch's windows no more, and keep what they add up to instead, sealed.

    Their rows go afterwards, page by page (`prune_page`). Returns None where the store is not what
    the export was made of: another process has exported meanwhile, or a hold was put right.
    """
    batch, sealed = command.batch, command.sealed
    before = tx.row("retention.last_export", Export)
    if batch.number != (1 if before is None else before.number + 1):
        return None
    changed = tx.row("retention.put_right_since", _Position, after=batch.seen)
    if changed is not None and changed.position:
        return None
    export = Export(
        number=batch.number,
        file=sealed.file,
        sha256=sealed.sha256,
        bytes=sealed.bytes,
        sessions=len(batch.sessions),
        events=sealed.events,
        until=batch.until,
        cut_at=batch.cut_at,
        sums_sha256="",
        exported_at=to_us(origin.at),
    )
    _set_sums(tx, sealed.sums)
    _record(tx, export)
    keep_days(tx, sealed.days)
    for session_id in batch.sessions:
        tx.run("retention.retire", session_id=session_id, export=batch.number)
    _drop_accounts(tx, batch.cut_at, sealed.staying)
    export = msgspec.structs.replace(export, sums_sha256=read_sums(tx).sha256)
    tx.run("retention.seal", number=export.number, sums_digest=export.sums_sha256)
    with system_journal(tx, timezone, origin) as journal:
        journal.add(
            upkeep_kinds.WindowsRetired(
                number=export.number,
                file=export.file,
                sha256=export.sha256,
                sums_sha256=export.sums_sha256,
                sessions=export.sessions,
                events=export.events,
            )
        )
    return export


def _record(tx: Transaction, export: Export) -> None:
    tx.run(
        "retention.record_export",
        number=export.number,
        file=export.file,
        digest=export.sha256,
        bytes=export.bytes,
        sessions=export.sessions,
        events=export.events,
        until=export.until,
        cut_at=export.cut_at,
        sums_digest=export.sums_sha256,
        exported_at=export.exported_at,
    )


def _set_sums(tx: Transaction, sums: Sums) -> None:
    for account in sums.accounts.values():
        set_account_sum(tx, account)
    for worker in sums.workers.values():
        set_worker_sum(tx, worker)
    for state in sums.states.values():
        set_state_sum(tx, state)


def set_account_sum(tx: Transaction, total: AccountSum) -> None:
    """Keep what an account's retired events add up to."""
    tx.run("retention.set_account_sum", **msgspec.structs.asdict(total))


def set_worker_sum(tx: Transaction, total: WorkerSum) -> None:
    """Keep a worker's last retired tick and session."""
    tx.run("retention.set_worker_sum", **msgspec.structs.asdict(total))


def set_state_sum(tx: Transaction, total: StateSum) -> None:
    """Keep where retired events have left a kill, a breaker or the clock."""
    tx.run("retention.set_state_sum", **msgspec.structs.asdict(total))


def _drop_accounts(tx: Transaction, cut_at: int, staying: Collection[str]) -> None:
    """Drop the accounts that count no more, each only if what is retired is all of its story."""
    in_use = {*staying, *_accounts_in_use(tx, cut_at)}
    sums = read_sums(tx).accounts
    for stored in tx.rows("retention.accounts_over", _Balance, cut_at=cut_at):
        total = sums[stored.id]
        is_whole = all(
            getattr(stored, field) == getattr(total, field)
            for field in ("limit_amount", "settled", "held", "overrun")
        )
        if is_whole and stored.held == 0 and stored.id not in in_use:
            tx.run("retention.drop_account", id=stored.id)
            tx.run("retention.drop_account_sum", id=stored.id)


def _accounts_in_use(tx: Transaction, cut_at: int) -> set[str]:
    rows = tx.rows("retention.accounts_of_old_holds", _AccountIds, cut_at=cut_at)
    return {name for row in rows for name in row.account_ids.split("\n")}
