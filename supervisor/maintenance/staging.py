"""Copying what is to go into a scratch store, page by page, and proving it there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial

import anyio
import msgspec

from supervisor.events import approval_kinds, kinds
from supervisor.events.event import Event
from supervisor.events.log import EventRow, parse
from supervisor.governance.audit import AuditReport, Replay
from supervisor.governance.retention import Batch
from supervisor.governance.sums import AccountSum, Export, Sums, WorkerSum, read_sums
from supervisor.storage.database import Database, Transaction, Value
from supervisor.storage.scratch import ScratchStore

_PAGE_ROWS = 200

Row = dict[str, Value]
Rows = dict[str, list[Row]]


class _Holds(msgspec.Struct, frozen=True):
    session_id: str
    number: int


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that was copied and audited: what it adds up to, and what the audit found.

    `staying` are accounts that events name which stay, `strays` how many holds no event has placed.
    """

    sums: Sums
    report: AuditReport
    staying: frozenset[str]
    strays: int


async def stage(database: Database, batch: Batch, scratch: ScratchStore) -> Staged:
    """Copy all that belongs to the batch's sessions into `scratch`, and audit it there.

    Each page is a read of its own, so that neither a tick nor another reader waits for long: what
    it reads is over and changes no more.

    Raises:
        StoreUnavailable: the store can't be read.
    """
    chosen = frozenset(batch.sessions)
    touched = _Touched()
    after = 0
    while True:
        page = await database.read(_read_page, batch, chosen, touched, after)
        if page is None:
            break
        after, rows = page
        await anyio.to_thread.run_sync(_put_all, scratch, rows)
    holds = await database.read(_count_holds, frozenset(batch.sessions))
    for number in range(0, len(batch.sessions), _PAGE_ROWS):
        ids = batch.sessions[number : number + _PAGE_ROWS]
        rows = await database.read(_read_sessions, ids)
        await anyio.to_thread.run_sync(_put_all, scratch, rows)
    await _stage_commands(database, batch, scratch)
    rows = await database.read(_read_beside, batch, touched)
    await anyio.to_thread.run_sync(_put_all, scratch, rows)
    live = await database.read(_read_live, touched)
    replayed = partial(scratch.read, _replay, scratch, live)
    sums, report = await anyio.to_thread.run_sync(replayed)
    return Staged(
        sums=sums,
        report=report,
        staying=frozenset(touched.staying),
        strays=max(holds - report.holds, 0),
    )


def _put_all(scratch: ScratchStore, rows: Rows) -> None:
    for table, listed in rows.items():
        scratch.put(table, listed)


class _Touched:
    """What the events of a batch name, beside their own rows."""

    def __init__(self) -> None:
        self.accounts: set[str] = set()
        self.opened: set[str] = set()
        self.workers: set[str] = set()
        self.latches: set[str] = set()
        self.breakers: set[str] = set()
        #: Accounts that events name which stay.
        self.staying: set[str] = set()

    def note(self, event: Event) -> None:
        """Note what an event names that goes."""
        self.accounts.update(_accounts_of(event))
        worker = getattr(event, "worker", "")
        if worker:
            self.workers.add(worker)
        match event:
            case kinds.AccountOpened(account=account):
                self.opened.add(account)
            case kinds.KillSwitchEngaged(scope=scope) | kinds.KillSwitchReleased(scope=scope):
                self.latches.add(scope)
            case (
                kinds.BreakerOpened(name=name)
                | kinds.BreakerHalfOpened(name=name)
                | kinds.BreakerClosed(name=name)
            ):
                self.breakers.add(name)
            case _:
                return


def _accounts_of(event: Event) -> list[str]:
    if isinstance(event, kinds.HoldPlaced):
        return [name for name in event.accounts if name]
    account = getattr(event, "account", "")
    return [account] if account else []


# --- copying


def _read_page(
    tx: Transaction, batch: Batch, chosen: Collection[str], touched: _Touched, after: int
) -> tuple[int, Rows] | None:
    found = tx.copies(
        "retention.events_between", after=after, until=batch.until, rows_max=_PAGE_ROWS
    )
    if not found:
        return None
    rows: Rows = {"events": []}
    for row in found:
        event = parse(msgspec.convert(row, EventRow, strict=False))
        if row["session_id"] not in chosen:
            touched.staying.update(_accounts_of(event))
            continue
        rows["events"].append(row)
        touched.note(event)
        for table, copies in _made_by(tx, event):
            rows.setdefault(table, []).extend(copies)
        if row["command_id"]:
            copies = tx.copies("retention.copy_command", id=row["command_id"])
            rows.setdefault("commands", []).extend(copies)
    last = found[-1]["position"]
    assert isinstance(last, int), last
    return last, rows


def _made_by(tx: Transaction, event: Event) -> Iterable[tuple[str, list[Row]]]:
    """Yield the rows that an event has made."""
    match event:
        case kinds.HoldPlaced(hold=hold):
            yield "holds", tx.copies("retention.copy_hold", id=hold)
        case kinds.CycleCompleted() | kinds.CycleSkipped() | kinds.CycleRecovered():
            tick = tx.copies("retention.copy_tick", worker=event.worker, number=event.tick)
            yield "ticks", tick
        case approval_kinds.ProposalMade(proposal=proposal):
            yield "proposals", tx.copies("retention.copy_proposal", id=proposal)
        case approval_kinds.ApprovalRequested(ticket=ticket):
            yield "tickets", tx.copies("retention.copy_ticket", id=ticket)
        case approval_kinds.ApprovalGranted(for_session=True, grant=grant):
            yield "session_grants", tx.copies("retention.copy_grant", id=grant)
        case _:
            return


def _count_holds(tx: Transaction, ids: Collection[str]) -> int:
    """Return how many holds these sessions have, by one look through all holds."""
    counts = tx.each("retention.holds_by_session", _Holds)
    return sum(count.number for count in counts if count.session_id in ids)


def _read_sessions(tx: Transaction, ids: Collection[str]) -> Rows:
    """Return the rows of sessions."""
    rows: Rows = {"sessions": [], "session_risks": [], "steers": []}
    for session_id in ids:
        rows["sessions"] += tx.copies("retention.copy_session", id=session_id)
        rows["session_risks"] += tx.copies("retention.copy_risk", session_id=session_id)
        rows["steers"] += tx.copies("retention.copy_steers", session_id=session_id)
    return rows


async def _stage_commands(database: Database, batch: Batch, scratch: ScratchStore) -> None:
    after = ""
    while True:
        found = await database.read(_read_commands, batch.cut_at, after)
        if not found:
            return
        await anyio.to_thread.run_sync(_put_all, scratch, {"commands": found})
        after = _text(found[-1]["id"])


def _read_commands(tx: Transaction, cut_at: int, after: str) -> list[Row]:
    return tx.copies(
        "retention.copy_commands_before", cut_at=cut_at, after=after, rows_max=_PAGE_ROWS
    )


# --- what the audit begins with


def _read_beside(tx: Transaction, batch: Batch, touched: _Touched) -> Rows:
    """Return what stood before the batch: the sums of the exports before it, as far as it needs."""
    sums = read_sums(tx)
    accounts = [sums.accounts[name] for name in sorted(touched.accounts) if name in sums.accounts]
    for name in sorted(touched.accounts - touched.opened - sums.accounts.keys()):
        # Opened in a window that stays: its limit is taken as it stands.
        live = tx.copies("retention.copy_account", id=name)
        accounts.extend(_opened_elsewhere(name, row) for row in live)
    workers = [sums.workers[name] for name in sorted(touched.workers & sums.workers.keys())]
    subjects = [f"kill {name}" for name in touched.latches]
    subjects += [f"breaker {name}" for name in touched.breakers]
    subjects.append("clock reset")
    states = [sums.states[name] for name in sorted(subjects) if name in sums.states]
    # Of this export the number, the end and the cut are known before it is made; nothing else is
    # asked of it by the audit of a file.
    export = Export(
        number=batch.number,
        file="",
        sha256="",
        bytes=0,
        sessions=len(batch.sessions),
        events=0,
        until=batch.until,
        cut_at=sums.cut_at,
        sums_sha256="",
        exported_at=0,
    )
    return {
        "account_sums": [msgspec.structs.asdict(one) for one in accounts],
        "worker_sums": [msgspec.structs.asdict(one) for one in workers],
        "state_sums": [msgspec.structs.asdict(one) for one in states],
        "exports": [msgspec.structs.asdict(export)],
        "ledger_clock": tx.copies("retention.copy_ledger_clock"),
    }


def _opened_elsewhere(name: str, row: Row) -> AccountSum:
    limit, overrun = row["limit_amount"], row["overrun"]
    assert isinstance(limit, int), limit
    assert isinstance(overrun, int), overrun
    return AccountSum(id=name, limit_amount=limit, limit_at=0, settled=0, held=0, overrun=overrun)


def _read_live(tx: Transaction, touched: _Touched) -> Rows:
    """Return rows as they stand in the store, for what of them no event tells."""
    rows: Rows = {"accounts": [], "kill_latches": [], "breakers": []}
    for name in sorted(touched.accounts):
        rows["accounts"] += tx.copies("retention.copy_account", id=name)
    for name in sorted(touched.latches):
        rows["kill_latches"] += tx.copies("retention.copy_latch", name=name)
    for name in sorted(touched.breakers):
        rows["breakers"] += tx.copies("retention.copy_breaker", name=name)
    return rows


# --- proving


def _replay(tx: Transaction, scratch: ScratchStore, live: Rows) -> tuple[Sums, AuditReport]:
    """Replay what was copied, put down what it adds up to, and compare all of it."""
    replay = Replay(tx, is_export=True)
    replay.read()
    sums = replay.carried()
    scratch.put("accounts", [_as_summed(row, sums) for row in live["accounts"]])
    scratch.put("kill_latches", [_as_left(row, "scope", sums) for row in live["kill_latches"]])
    scratch.put("breakers", [_as_left(row, "name", sums) for row in live["breakers"]])
    scratch.put("workers", [_worker_row(one) for one in sums.workers.values()])
    return sums, replay.compare()


def _as_summed(row: Row, sums: Sums) -> Row:
    total = sums.accounts[_text(row["id"])]
    summed: Row = {
        "limit_amount": total.limit_amount,
        "settled": total.settled,
        "held": total.held,
        "overrun": total.overrun,
    }
    return row | summed


def _as_left(row: Row, key: str, sums: Sums) -> Row:
    """Return a latch's or a breaker's row as the batch has left it."""
    if key == "scope":
        is_on = sums.states[f"kill {_text(row[key])}"].state == "engaged"
        return row | {"is_engaged": int(is_on)}
    left = sums.states[f"breaker {_text(row[key])}"].state
    return row | msgspec.json.decode(left, type=dict[str, int | str])


def _text(value: Value) -> str:
    assert isinstance(value, str), value
    return value


def _worker_row(total: WorkerSum) -> Row:
    return {"name": total.worker, "life": "", "last_tick": total.last_tick}
