"""Holding a drill by its name: from the command line, or from the daemon's schedule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import anyio

from supervisor.clock import Clock, to_us
from supervisor.config import Loaded
from supervisor.errors import IllegalMove, UsageError
from supervisor.governance.drills import Drill, Verdict
from supervisor.lock import running_holder
from supervisor.maintenance.approvals_drill import ApprovalsDrill
from supervisor.maintenance.kill_drill import KillDrill
from supervisor.maintenance.restore_drill import RestoreDrill
from supervisor.storage.database import Database
from supervisor.storage.open import is_postgres, open_database, sqlite_path

#: What a sweep may take for the drill's backlog once it has come round.
_SWEEP_MAX_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """Which drill to hold, on what, and in whose name; `id` is its command id.

    `backup` is the file that a restore drill is to use instead of a fresh one.
    """

    drill: Drill
    loaded: Loaded
    clock: Clock
    actor: str
    id: str
    backup: Path | None = None


Runner: TypeAlias = Callable[[Rehearsal, Database], Awaitable[Verdict]]


async def hold_drill(rehearsal: Rehearsal) -> Verdict:
    """Hold a drill on a connection of its own, and record its verdict.

    Its connection is not the daemon's also where the daemon holds it, so that what it does arrives
    there as what a person does on the command line.

    Raises:
        IllegalMove: one is under way, or there is no daemon to rehearse with.
        UsageError: this store has no such drill.
        StoreUnavailable: the store can't be read or written.
    """
    section = rehearsal.loaded.config.supervisor
    database = await open_database(
        section.database,
        state_dir=rehearsal.loaded.state_dir,
        now_us=to_us(rehearsal.clock.now()),
    )
    try:
        return await RUNNERS[rehearsal.drill](rehearsal, database)
    finally:
        with anyio.CancelScope(shield=True):
            await database.close()


def _require_daemon(rehearsal: Rehearsal) -> None:
    loaded = rehearsal.loaded
    # On a shared database the daemon may live on another host, which has another lock.
    if (
        not is_postgres(loaded.config.supervisor.database)
        and running_holder(loaded.state_dir) is None
    ):
        raise IllegalMove(
            subject=f"drill {rehearsal.drill}",
            what="no daemon runs, so that there is none to rehearse with; nothing was done",
            fix="start it with `supervisor run`",
        )


async def _kill(rehearsal: Rehearsal, database: Database) -> Verdict:
    _require_daemon(rehearsal)
    loaded = rehearsal.loaded
    drill = KillDrill(
        database=database,
        clock=rehearsal.clock,
        timezone=loaded.timezone,
        actor=rehearsal.actor,
        id=rehearsal.id,
        limit_s=loaded.config.supervisor.kill_latency_s,
    )
    return await drill.run()


async def _approvals(rehearsal: Rehearsal, database: Database) -> Verdict:
    _require_daemon(rehearsal)
    loaded = rehearsal.loaded
    drill = ApprovalsDrill(
        database=database,
        clock=rehearsal.clock,
        timezone=loaded.timezone,
        actor=rehearsal.actor,
        id=rehearsal.id,
        limit_s=loaded.config.policy.sweep_every_s + _SWEEP_MAX_S,
    )
    return await drill.run()


async def _restore(rehearsal: Rehearsal, database: Database) -> Verdict:
    loaded = rehearsal.loaded
    url = loaded.config.supervisor.database
    if is_postgres(url):
        raise UsageError(
            subject=f"drill {rehearsal.drill}",
            what="copies a SQLite file, and the store is a Postgres database; nothing was done",
            fix="rehearse with pg_dump and pg_restore into a scratch database: see the RUNBOOK",
        )
    drill = RestoreDrill(
        database=database,
        store=sqlite_path(url, state_dir=loaded.state_dir),
        scratch_in=loaded.state_dir,
        backup=rehearsal.backup,
        clock=rehearsal.clock,
        timezone=loaded.timezone,
        actor=rehearsal.actor,
        id=rehearsal.id,
    )
    return await drill.run()


#: Every drill's runner. A new one is added here, to `Drill` and to [drills].
RUNNERS: Mapping[Drill, Runner] = {
    Drill.KILL: _kill,
    Drill.APPROVALS: _approvals,
    Drill.RESTORE: _restore,
}
