"""Finding what dead lives left behind, and closing it in the open."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import Clock, to_us
from supervisor.events import kinds, upkeep_kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.executions import fail_forfeited
from supervisor.governance.kill_switch import Latch, applying, engaged
from supervisor.governance.rotation import (
    SYSTEM,
    close_session,
    find_session,
    is_due,
    system_journal,
)
from supervisor.governance.session import DAEMON_STOPPED, Session, SessionStatus
from supervisor.jobs.effects import lose, orphaned
from supervisor.jobs.endings import Held, take_away
from supervisor.ledger import ledger
from supervisor.ledger.holds import Hold
from supervisor.maintenance.approval_sweep import sweep
from supervisor.maintenance.peers import Peer, Peers, living_peers, workers_elsewhere
from supervisor.outcome import Outcome
from supervisor.storage.database import Database, Transaction
from supervisor.storage.readable import readable_rows

_PAGE_ROWS = 200
_LEFT_OPEN = "left open by a life that ended"


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan has closed."""

    ticks: int = 0
    holds: int = 0
    sessions: int = 0
    tickets: int = 0
    claims: int = 0
    effects: int = 0

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            ticks=self.ticks + other.ticks,
            holds=self.holds + other.holds,
            sessions=self.sessions + other.sessions,
            tickets=self.tickets + other.tickets,
            claims=self.claims + other.claims,
            effects=self.effects + other.effects,
        )


class _Tick(msgspec.Struct, frozen=True):
    worker: str
    number: int
    session_id: str | None
    boot_id: str
    started_at: int


async def recover(
    database: Database,
    *,
    boot_id: str,
    clock: Clock,
    timezone: ZoneInfo,
    workers: Collection[str],
    peers: Peers | None = None,
) -> Findings:
    """Close every tick, hold and session that no living daemon owns (requirement R1).

    Ticks are marked `recovered`, their holds forfeited: what they did is unknown. Their jobs are
    claimable again at once, an attempt poorer. Sessions of
    workers that the config no longer has are completed once their window is over. Overdue tickets
    expire. Page by page, so that nothing is left out and no transaction is long. Doing it again
    changes nothing.

    `peers` says which other lives are over; without it all are, as where a lock lets in only one.

    Raises:
        StoreUnavailable: the store failed; what was closed stays closed.
    """
    total = Findings()
    others = await database.read(living_peers, boot_id)
    dead = set(peers.dead(others) if peers else [other.boot_id for other in others])
    if dead:
        lives = [other for other in others if other.boot_id in dead]
        await database.write(_bury, lives, Origin(at=clock.now(), actor="recovery"), timezone)
    while True:
        origin = Origin(at=clock.now(), actor="recovery")
        found = await database.write(_recover_page, boot_id, origin, timezone)
        total += found
        if found == Findings():
            break
    after: str | None = ""
    while after is not None:
        closed, after = await database.write(
            _close_unowned, frozenset(workers), boot_id, clock.now(), after
        )
        total += Findings(sessions=closed)
    swept = await sweep(database, clock=clock, timezone=timezone)
    return total + Findings(tickets=swept.tickets)


def _bury(tx: Transaction, lives: Sequence[Peer], origin: Origin, timezone: ZoneInfo) -> None:
    for life in lives:
        # Of several daemons that find it dead, one says so.
        if tx.run("daemons.died", boot_id=life.boot_id, now=to_us(origin.at)):
            with system_journal(tx, timezone, origin) as journal:
                journal.add(
                    upkeep_kinds.DaemonDied(boot_id=life.boot_id, seen_at=life.heartbeat_at)
                )


def _recover_page(tx: Transaction, boot_id: str, origin: Origin, timezone: ZoneInfo) -> Findings:
    # Before the ticks: a claim that is taken away fences its tick's late end.
    claims = readable_rows(tx, "jobs.orphaned_claims", Held, boot_id=boot_id, rows_max=_PAGE_ROWS)
    if claims:
        for held in claims:
            recover_claim(tx, held, origin, timezone)
        return Findings(claims=len(claims))
    ticks = tx.rows("workers.orphaned_ticks", _Tick, boot_id=boot_id, rows_max=_PAGE_ROWS)
    holds = 0
    for tick in ticks:
        holds += _recover_tick(tx, tick, origin, timezone)
    if ticks:
        return Findings(ticks=len(ticks), holds=holds)
    lost = orphaned(tx, _PAGE_ROWS)
    for effect in lost:
        with system_journal(tx, timezone, origin) as journal:
            lose(tx, journal, effect, why="its tick ended, and left its outcome open")
    if lost:
        return Findings(effects=len(lost))
    loose = tx.rows("workers.orphaned_holds", Hold, boot_id=boot_id, rows_max=_PAGE_ROWS)
    for hold in loose:
        with _journal(tx, hold.session_id, origin, timezone) as journal:
            ledger.forfeit(tx, journal, hold, why=_LEFT_OPEN)
            fail_forfeited(tx, journal, [hold], why=_LEFT_OPEN)
    return Findings(holds=len(loose))


def recover_claim(tx: Transaction, held: Held, origin: Origin, timezone: ZoneInfo) -> int:
    """Take a claim away from its dead or silent holder; return how many jobs it still had."""
    tick = f"{held.worker}#{held.tick}"
    origin = msgspec.structs.replace(origin, correlation_id=tick)
    why = f"its life {held.boot_id} ended, or was silent for its lease, before it was done"
    with _journal(tx, held.session_id, origin, timezone) as journal:
        return take_away(tx, journal, held, why=why)


def _recover_tick(tx: Transaction, tick: _Tick, origin: Origin, timezone: ZoneInfo) -> int:
    now = to_us(origin.at)
    origin = msgspec.structs.replace(origin, correlation_id=f"{tick.worker}#{tick.number}")
    why = f"its life {tick.boot_id} ended before it did"
    tx.run(
        "workers.end_tick",
        worker=tick.worker,
        number=tick.number,
        outcome=Outcome.RECOVERED,
        why=why,
        now=now,
    )
    with _journal(tx, tick.session_id, origin, timezone) as journal:
        holds = tx.rows("ledger.open_holds_of_tick", Hold, worker=tick.worker, tick=tick.number)
        for hold in holds:
            ledger.forfeit(tx, journal, hold, why=why)
        fail_forfeited(tx, journal, holds, why=why)
        tx.run("workers.recovered", name=tick.worker, now=now)
        journal.add(
            kinds.CycleRecovered(worker=tick.worker, tick=tick.number, boot_id=tick.boot_id)
        )
    return len(holds)


def _journal(
    tx: Transaction, session_id: str | None, origin: Origin, timezone: ZoneInfo
) -> Journal:
    session = find_session(tx, session_id) if session_id else None
    if session is None or session.summary is not None:
        return system_journal(tx, timezone, origin)
    return Journal(tx, session.id, origin)


def _close_unowned(
    tx: Transaction, workers: Collection[str], boot_id: str, now: datetime, after: str
) -> tuple[int, str | None]:
    """Close those of a page of open sessions that no worker has; return where the next begins."""
    owned = {SYSTEM, *workers, *workers_elsewhere(tx, boot_id)}
    latches = engaged(tx)
    page = tx.rows("sessions.open_page", Session, after=after, rows_max=_PAGE_ROWS)
    unowned = [
        session
        for session in page
        if session.worker not in owned
        and is_due(session, now)
        and not _waits_for_a_person(session, latches)
    ]
    for session in unowned:
        close_session(tx, session, Origin(at=now, actor="recovery"))
    return len(unowned), page[-1].worker if len(page) == _PAGE_ROWS else None


def _waits_for_a_person(session: Session, latches: Sequence[Latch]) -> bool:
    """Return whether closing the session would let its worker, should it return, go on unasked."""
    if applying(latches, worker=session.worker, session_id=session.id) is not None:
        return True
    return session.status is SessionStatus.PAUSED and session.why != DAEMON_STOPPED
