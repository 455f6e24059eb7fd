"""From a config file to a running daemon, in the order of requirement D7."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio
from structlog.typing import FilteringBoundLogger

from supervisor import __version__
from supervisor.assembly import build_plan
from supervisor.clock import SystemClock, iso, to_us
from supervisor.config import Loaded
from supervisor.daemon import EXIT_STOPPED, Daemon
from supervisor.errors import NotFound, StoreUnavailable, text_of
from supervisor.garbage import spare_what_stays
from supervisor.governance.kill_switch import engaged
from supervisor.http.server import address_of, bind
from supervisor.ids import RandomIds
from supervisor.lifecycle import Life
from supervisor.lock import Holder, Lock, acquire
from supervisor.logs import open_log
from supervisor.maintenance.state_dir import obstacle
from supervisor.maintenance.stop_file import STOP_NAME, read_stop
from supervisor.money import limit_micro_usd, usd_text
from supervisor.storage.database import Database
from supervisor.storage.open import open_database
from supervisor.worker.plan import WorkerPlan
from supervisor.worker.tick import TickEnd


class OpenStore(Protocol):
    """What opens the store; the crash harness puts its fault points around the real one."""

    def __call__(self, url: str, *, state_dir: Path, now_us: int) -> Awaitable[Database]:
        """Open the store, as `storage.open.open_database` does."""
        ...


def run_daemon(
    loaded: Loaded, *, exit_if_killed: bool = False, open_store: OpenStore = open_database
) -> int:
    """Run the daemon in the foreground and return its exit code.

    Raises:
        ConfigError: the port is in use, or a worker can't be imported.
        AlreadyRunning: another daemon has the state directory.
        StoreUnavailable: the state directory or the store can't be used.
    """
    # Before anything starts: a worker that can't be imported is an error of the config.
    plans = [build_plan(loaded, name) for name in loaded.config.worker]
    prepare_state_dir(loaded.state_dir)
    if is_stopped(loaded):
        return EXIT_STOPPED
    lock = acquire(loaded.state_dir)
    try:
        run = partial(_run, exit_if_killed=exit_if_killed, open_store=open_store)
        return anyio.run(run, loaded, plans, lock)
    finally:
        lock.release()


def run_once(loaded: Loaded, worker: str) -> TickEnd | None:
    """Run one tick of `worker` through every gate and return its end; None: STOP forbids it.

    Raises:
        NotFound: the config has no such worker.
        ConfigError, AlreadyRunning, StoreUnavailable: as for `run_daemon`.
    """
    if worker not in loaded.config.worker:
        known = ", ".join(loaded.config.worker) or "none"
        raise NotFound(
            subject=f"worker {worker}",
            what="is not in the config",
            fix=f"name one of: {known}",
        )
    prepare_state_dir(loaded.state_dir)
    if is_stopped(loaded):
        return None
    lock = acquire(loaded.state_dir)
    try:
        return anyio.run(partial(_run_once, loaded, worker, lock))
    finally:
        lock.release()


async def _run_once(loaded: Loaded, worker: str, lock: Lock) -> TickEnd:
    life = describe_life(lock, listen="")
    async with _opened(loaded, open_database) as (database, log):
        daemon = Daemon(loaded, database=database, log=log, life=life)
        return await daemon.run_once(worker)


@asynccontextmanager
async def _opened(
    loaded: Loaded, open_store: OpenStore
) -> AsyncIterator[tuple[Database, FilteringBoundLogger]]:
    """Open the log and the store, and close the store."""
    log = open_log(loaded.config.log, state_dir=loaded.state_dir)
    now_us = to_us(SystemClock().now())
    url = loaded.config.supervisor.database
    database = await open_store(url, state_dir=loaded.state_dir, now_us=now_us)
    try:
        yield database, log
    finally:
        await database.close()


async def _run(
    loaded: Loaded,
    plans: list[WorkerPlan],
    lock: Lock,
    *,
    exit_if_killed: bool,
    open_store: OpenStore,
) -> int:
    listening = bind(loaded.config.http.listen)
    try:
        life = describe_life(lock, listen=address_of(listening))
        async with _opened(loaded, open_store) as (database, log):
            latches = await database.read(engaged)
            if exit_if_killed and any(latch.scope == "system" for latch in latches):
                _say("not started: the system is killed; `supervisor release --system --why TEXT`")
                return EXIT_STOPPED
            daemon = Daemon(loaded, database=database, log=log, life=life)
            _say(banner(loaded, address_of(listening)))
            spare_what_stays()
            return await daemon.run(plans, listening)
    finally:
        listening.close()


def prepare_state_dir(state_dir: Path) -> None:
    """Make the state directory, for this user alone (requirement Q2).

    Raises:
        StoreUnavailable: it can't be made, or not be written to.
    """
    os.umask(0o077)
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        state_dir.chmod(0o700)
    except OSError as error:
        raise _unusable(state_dir, obstacle(state_dir) or text_of(error)) from error
    if not os.access(state_dir, os.W_OK | os.X_OK):
        raise _unusable(state_dir, "not writable for this user")


def _unusable(state_dir: Path, why: str) -> StoreUnavailable:
    return StoreUnavailable(
        subject=f"state directory {state_dir}",
        what=f"can't be used: {why}",
        fix="make it writable for this user, or set [supervisor] state_dir",
    )


def is_stopped(loaded: Loaded) -> bool:
    """Return whether a STOP file forbids the start, and say how to clear it."""
    stop = read_stop(loaded.state_dir)
    if stop is None:
        return False
    path = loaded.state_dir / STOP_NAME
    _say(f"not started: {path} is there: {stop or 'no word about why'}")
    _say("`supervisor stop --clear` lets it start again")
    return True


def describe_life(lock: Lock, *, listen: str) -> Life:
    """Name this life, and write it into the lock."""
    life = Life(
        boot_id=RandomIds().new("boot"),
        pid=os.getpid(),
        host=socket.gethostname() or platform.node(),
        version=__version__,
    )
    started_at = iso(SystemClock().now())
    lock.describe(Holder(pid=life.pid, boot_id=life.boot_id, started_at=started_at, listen=listen))
    return life


def banner(loaded: Loaded, address: str) -> str:
    """Return what a person sees first."""
    config = loaded.config
    workers = ", ".join(config.worker) or "none: add a [worker.NAME] to the config"
    cap = usd_text(limit_micro_usd(config.spend.daily_cap_usd))
    return "\n".join(
        (
            f"supervisor {__version__}  pid {os.getpid()}",
            f"  config    {loaded.path}",
            f"  state     {loaded.state_dir}",
            f"  workers   {workers}",
            f"  spend cap {cap} a day, on cap: {config.spend.on_cap}",
            f"  http      http://{address}  /healthz /readyz /status /metrics",
            "  stop it   Ctrl-C drains; `supervisor stop` ends it and keeps it stopped",
        )
    )


def _say(text: str) -> None:
    # What can't be shown keeps no daemon from its work: a full disk may have its output as well.
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
