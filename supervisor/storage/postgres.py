"""The Postgres driver: whole functions on the connection's thread, committed in groups."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence

import psycopg

from supervisor.storage.database import P, T, Transaction, TransactionFunction
from supervisor.storage.group_commit import Batch, Committed, GroupCommit, bind
from supervisor.storage.postgres_commit import Committer
from supervisor.storage.postgres_errors import opened_for_reading, translate
from supervisor.storage.postgres_link import Link
from supervisor.storage.postgres_listen import Listening
from supervisor.storage.postgres_transaction import PostgresTransaction


class PostgresDatabase:
    """One writing session with group commit, one reading session, one that listens.

    Writers of all processes take turns by a lock in the database: postgres_commit.py. Without a
    `committer` the store is open for reading only.
    """

    def __init__(
        self,
        *,
        writer: Link | None,
        committer: Committer | None,
        reader: Link,
        listening: Listening | None,
    ) -> None:
        self._writer = writer
        self._committer = committer
        self._reader = reader
        self._listening = listening
        self._group = GroupCommit(self._commit, subject=reader.target.subject)

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        return self._group.write(function, *args, **kwargs)

    def _commit(self, batch: Batch) -> asyncio.Future[Committed]:
        if self._writer is None or self._committer is None:
            refused: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
            refused.set_exception(opened_for_reading(self._reader.target.subject))
            return refused
        return self._writer.submit(functools.partial(_commit, self._committer, batch))

    async def read(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._reader.submit(functools.partial(_snapshot, bind(function, args, kwargs)))

    def listen(self, listener: Callable[[Sequence[object]], None]) -> None:
        self._group.listen(listener)

    def heed(self, listener: Callable[[], None]) -> None:
        if self._listening is not None:
            self._listening.heed(listener)

    async def has_foreign_commits(self) -> bool:
        return self._listening is None or self._listening.has_heard()

    def write_failures(self) -> int:
        return self._group.failures

    def size_bytes(self) -> int:
        return 0

    async def close(self) -> None:
        await self._group.finish()
        if self._listening is not None:
            await self._listening.close()
        if self._writer is not None and self._committer is not None:
            await self._writer.submit(functools.partial(_forget, self._committer))
            await self._writer.close()
        await self._reader.close()


def _commit(committer: Committer, batch: Batch, _: Link) -> Committed:
    return committer.commit(batch)


def _forget(committer: Committer, _: Link) -> None:
    committer.forget()


def _snapshot(function: Callable[[Transaction], T], link: Link) -> T:
    """Run the function on one snapshot; on the link's thread.

    A connection that was lost since it was last used is made anew. One that is lost while the
    function runs is not: a function that reads may have told of what it has read.
    """
    try:
        try:
            _begin(link)
        except psycopg.OperationalError as error:
            link.recover(error)
            if link.is_alive:
                raise
            _begin(link)
        tx = PostgresTransaction(link.connected())
        result = function(tx)
        tx.flush()
        return result
    except psycopg.Error as error:
        link.recover(error)
        raise translate(error, link.target.subject) from error
    finally:
        link.rest()


def _begin(link: Link) -> None:
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    link.connected().execute(begin, prepare=False)
