"""Reading and writing the store from the command line, beside a daemon or without one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from supervisor.clock import SystemClock, iso, to_us
from supervisor.config import Loaded
from supervisor.errors import StoreUnavailable, UsageError
from supervisor.lock import Holder, acquire
from supervisor.maintenance.state_dir import obstacle
from supervisor.storage import open as stores
from supervisor.storage.database import Database, P, T, TransactionFunction


def store_exists(loaded: Loaded) -> bool:
    """Return whether anything has been stored yet; a database server is asked.

    Raises:
        StoreUnavailable: the server does not say.
    """
    return stores.store_exists(loaded.config.supervisor.database, state_dir=loaded.state_dir)


def read_store(
    loaded: Loaded, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run `function` on one snapshot of the store.

    Raises:
        StoreUnavailable: it does not exist, or can't be read.
    """

    async def read() -> T:
        async with opened(loaded, is_read_only=True) as database:
            return await database.read(function, *args, **kwargs)

    return asyncio.run(read())


def write_store(
    loaded: Loaded, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run `function` in a durable transaction; a store that does not exist is made.

    Raises:
        StoreUnavailable: it can't be made or written; nothing was done.
    """

    async def write() -> T:
        async with opened(loaded, is_read_only=False) as database:
            return await database.write(function, *args, **kwargs)

    prepare_state_dir(loaded)
    return asyncio.run(write())


@asynccontextmanager
async def opened(loaded: Loaded, *, is_read_only: bool) -> AsyncIterator[Database]:
    """Open the store, and close it.

    Raises:
        StoreUnavailable: it can't be opened.
    """
    database = await stores.open_database(
        loaded.config.supervisor.database,
        state_dir=loaded.state_dir,
        now_us=to_us(SystemClock().now()),
        is_read_only=is_read_only,
    )
    try:
        yield database
    finally:
        await database.close()


@contextmanager
def locked(loaded: Loaded) -> Iterator[None]:
    """Keep every daemon from the state directory while the block runs.

    Raises:
        AlreadyRunning: one runs.
        StoreUnavailable: the lock can't be made.
    """
    prepare_state_dir(loaded)
    lock = acquire(loaded.state_dir)
    try:
        lock.describe(Holder(pid=os.getpid(), boot_id="", started_at=iso(SystemClock().now())))
        yield
    finally:
        lock.release()


def store_file(loaded: Loaded, command: str, instead: str) -> Path:
    """Return the file that the store is, for a command that copies files.

    Raises:
        UsageError: it is a database server's; `instead` does there what the command does here.
    """
    url = loaded.config.supervisor.database
    if stores.is_postgres(url):
        raise UsageError(
            subject=f"supervisor {command}",
            what="copies a SQLite file, and the store is a Postgres database",
            fix=f"use {instead}; the RUNBOOK has the lines",
        )
    return stores.sqlite_path(url, state_dir=loaded.state_dir)


def prepare_state_dir(loaded: Loaded) -> None:
    """Make the state directory for this user alone, where it does not exist (requirement Q2).

    Raises:
        StoreUnavailable: it can't be made.
    """
    try:
        loaded.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            subject=f"state directory {loaded.state_dir}",
            what=f"can't be made: {obstacle(loaded.state_dir) or error.strerror}",
            fix="make its parent writable for this user, or set [supervisor] state_dir",
        ) from error
