"""What `supervisor doctor` finds in the store: its file, and what its record says of dead lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from supervisor.clock import iso
from supervisor.governance.clock_reset import sessions_ahead
from supervisor.governance.drills import Drill, DrillRecord, DrillStatus, last_end
from supervisor.governance.kill_switch import Latch, engaged
from supervisor.ledger.limits import ledger_now
from supervisor.maintenance.doctor_site import Finding
from supervisor.money import usd_text
from supervisor.storage.database import Transaction
from supervisor.storage.sqlite_diagnosis import diagnose

_WAL_BYTES_MAX = 64 * 1024 * 1024
#: What a wall clock may be set back by without a word.
_AHEAD_MAX = timedelta(minutes=1)
_RESET = "`supervisor doctor --reset-ledger-clock --why TEXT` puts it back and refunds nothing"
_RESTORE = "`supervisor stop`, keep all files, then `supervisor restore FILE --why TEXT`"


class _Loose(msgspec.Struct, frozen=True):
    number: int
    cost: int


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the record says that is worth a look; `sessions_ahead` are ids."""

    ledger_at: datetime
    latches: tuple[Latch, ...]
    loose_holds: _Loose
    loose_ticks: _Loose
    sessions_ahead: tuple[str, ...]
    drills: Mapping[Drill, DrillRecord]


def read_facts(tx: Transaction, now: datetime, *, boot_id: str, is_alone: bool) -> StoreFacts:
    """Read what the record says; `boot_id` is the life that holds the lock, or empty."""
    holds = tx.row("doctor.loose_holds", _Loose, boot_id=boot_id, is_alone=int(is_alone))
    ticks = tx.row("doctor.loose_ticks", _Loose, boot_id=boot_id, is_alone=int(is_alone))
    assert holds is not None, "a count always has a row"
    assert ticks is not None, "a count always has a row"
    held = {drill: record for drill in Drill if (record := last_end(tx, drill)) is not None}
    return StoreFacts(
        ledger_at=ledger_now(tx, now),
        latches=tuple(engaged(tx)),
        loose_holds=holds,
        loose_ticks=ticks,
        sessions_ahead=tuple(session.id for session in sessions_ahead(tx, now)),
        drills=held,
    )


def examine_facts(facts: StoreFacts, now: datetime, *, is_running: bool) -> Iterator[Finding]:
    """Say what of the record is wrong."""
    if facts.ledger_at - now > _AHEAD_MAX:
        what = f"is at {iso(facts.ledger_at)}, the wall clock at {iso(now)}: money counts there"
        fix = f"if the wall clock is right, stop the daemon, then {_RESET}"
        yield Finding(area="ledger clock", what=what, fix=fix)
    elif facts.sessions_ahead:
        listed = ", ".join(facts.sessions_ahead[:5])
        fix = f"if the wall clock is right, stop the daemon, then {_RESET}"
        yield Finding(area="sessions", what=f"begin in the future: {listed}", fix=fix)
    for latch in facts.latches:
        if latch.scope != "system":
            flag = "--" + latch.scope.replace(":", " ", 1)
            what = f"{latch.scope} is killed by {latch.actor}: {latch.why}"
            fix = f"`supervisor release {flag} --why TEXT`, when it is time"
            yield Finding(area="kill switch", what=what, fix=fix)
    yield from _loose(facts, is_running=is_running)
    for drill, record in facts.drills.items():
        if record.status is DrillStatus.FAILED:
            fix = f"mend its cause, then `supervisor drill {drill}`"
            yield Finding(area=f"drill {drill}", what=f"failed last: {record.what}", fix=fix)


def _loose(facts: StoreFacts, *, is_running: bool) -> Iterator[Finding]:
    when = "the next scan, within a minute, closes them" if is_running else "the next start does"
    fix = f"{when}: ticks are marked recovered, holds forfeited"
    if facts.loose_holds.number:
        held = facts.loose_holds
        what = f"{held.number} are open and of dead lives, {usd_text(held.cost)} in all"
        yield Finding(area="holds", what=what, fix=fix)
    if facts.loose_ticks.number:
        what = f"{facts.loose_ticks.number} are running and of dead lives"
        yield Finding(area="ticks", what=what, fix=fix)


def examine_file(path: Path) -> Iterator[Finding]:
    """Look at the pages, the tables, the lock and the log of a SQLite store."""
    area = f"store {path}"
    found = diagnose(path)
    if found.pages:
        yield Finding(area=area, what=f"is damaged: {'; '.join(found.pages)}", fix=_RESTORE)
        whole = [f"{table.name} ({table.rows})" for table in found.tables if not table.error]
        torn = [f"{table.name} (after {table.rows})" for table in found.tables if table.error]
        what = f"tables that read to their end: {', '.join(whole) or 'none'}"
        if torn:
            what += f"; that do not: {', '.join(torn)}"
        fix = "what reads to its end may still be missing rows: do not go on with it"
        yield Finding(area=area, what=what, fix=fix)
    if found.is_locked:
        by = ", ".join(found.lockers) or "a process that can't be told from here"
        fix = "end it, unless it is the daemon itself: a database shell, a copying job"
        yield Finding(area=area, what=f"is locked by {by}; no work is done", fix=fix)
    if found.wal_bytes > _WAL_BYTES_MAX:
        size = f"{found.wal_bytes // 1024**2} MB"
        fix = (
            "end the process that reads it all the time, a database shell; else restart the daemon"
        )
        what = f"its log has grown to {size}: something keeps it from being folded in"
        yield Finding(area=area, what=what, fix=fix)
