"""The transactions of the daemon's own life: its start, its end, crashes, a changed config."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import to_us
from supervisor.config import Config, Loaded
from supervisor.events import kinds
from supervisor.events.log import Origin
from supervisor.governance.kill_switch import Latch, engaged
from supervisor.governance.rotation import SYSTEM, pause_session, system_journal
from supervisor.governance.session import DAEMON_STOPPED, Session, SessionStatus
from supervisor.ledger.accounts import Budgets
from supervisor.ledger.limits import apply_limits
from supervisor.maintenance.peers import workers_elsewhere
from supervisor.storage.database import Transaction
from supervisor.worker.records import checkpoint_now, register_worker


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the daemon."""

    boot_id: str
    pid: int
    host: str
    version: str


def begin_life(
    tx: Transaction, life: Life, workers: Sequence[str], budgets: Budgets, origin: Origin
) -> list[Latch]:
    """Record the start, give accounts the config's limits, and return the kills in force."""
    tx.run(
        "daemons.started",
        boot_id=life.boot_id,
        pid=life.pid,
        host=life.host,
        now=to_us(origin.at),
    )
    for name in workers:
        register_worker(tx, name, "running")
    with system_journal(tx, budgets.timezone, origin) as journal:
        journal.add(kinds.DaemonStarted(boot_id=life.boot_id, version=life.version))
        apply_limits(tx, journal, budgets)
    return engaged(tx)


def end_life(tx: Transaction, life: Life, timezone: ZoneInfo, origin: Origin, *, why: str) -> None:
    """Checkpoint and pause every active session of this daemon's workers, and record the end.

    Paused, not completed: a start in the same window adopts the same session, so that a restart
    gives no worker a fresh budget (requirements S3, L4).
    """
    not_ours = {SYSTEM, *workers_elsewhere(tx, life.boot_id)}
    for session in tx.rows("sessions.open_ones", Session):
        if session.worker in not_ours or session.status is not SessionStatus.ACTIVE:
            continue
        checkpoint_now(tx, worker=session.worker, session=session, label="shutdown", origin=origin)
        pause_session(tx, session, origin, why=DAEMON_STOPPED)
    tx.run("daemons.stopped", boot_id=life.boot_id, now=to_us(origin.at))
    with system_journal(tx, timezone, origin) as journal:
        journal.add(kinds.DaemonStopped(boot_id=life.boot_id, why=why))


def record_reload(
    tx: Transaction,
    changes: Sequence[str],
    workers: Sequence[str],
    budgets: Budgets,
    origin: Origin,
) -> None:
    """Record a changed config and give running accounts their new limits; nothing is refunded."""
    for name in workers:
        register_worker(tx, name, "running")
    with system_journal(tx, budgets.timezone, origin) as journal:
        journal.add(kinds.ConfigurationChanged(changes=tuple(changes)))
        apply_limits(tx, journal, budgets)


def keep_fixed(before: Loaded, after: Loaded) -> tuple[Loaded, list[str]]:
    """Return the new config with what only a start can change as it was, and those changed keys.

    A daemon can't move its store, its lock, its port or its days while it runs.
    """
    old, new = before.config, after.config
    fixed = {"supervisor": old.supervisor, "http": old.http, "log": old.log}
    kept = msgspec.structs.replace(new, **fixed)
    changed = changed_keys(kept, new)
    return msgspec.structs.replace(after, config=kept), changed


def changed_keys(before: Config, after: Config) -> list[str]:
    """Return the dotted paths of the values that differ."""
    return _differences(msgspec.to_builtins(before), msgspec.to_builtins(after), "")


def _differences(before: object, after: object, path: str) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        return [
            difference
            for key in keys
            for difference in _differences(before.get(key), after.get(key), f"{path}.{key}")
        ]
    return [] if before == after else [path.lstrip(".")]
