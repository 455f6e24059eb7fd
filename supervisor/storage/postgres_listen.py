"""Hearing that another writer has committed."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable

import psycopg
from psycopg import sql

from supervisor.storage.postgres_link import Connection, connect
from supervisor.storage.postgres_target import LISTENING, Target

#: How long nothing need be heard before the store is looked at all the same.
_POLL_S = 1.0
_RECONNECT_EVERY_S = 1.0


class Listening:
    """A session of its own that is told of each commit; the loop reads what has come in.

    Used in the event loop, except for `_connect`, which waits for the server on a thread.
    """

    def __init__(self, target: Target, *, writer: str, channel: str) -> None:
        """What the writer named `writer` commits itself is not told of."""
        self._target = target
        self._writer = writer
        self._channel = channel
        self._connection: Connection | None = None
        self._descriptor = -1
        self._starting: asyncio.Task[None] | None = None
        self._tried_at = -_RECONNECT_EVERY_S
        self._has_heard = False
        self._listeners: list[Callable[[], None]] = []
        self._asked_at = time.monotonic()
        self.poll_s = _POLL_S

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            psycopg.Error: the server could not be reached.
        """
        self._tried_at = time.monotonic()
        connection = await asyncio.to_thread(self._connect)
        self._connection = connection
        # A descriptor of our own: libpq closes its own one as soon as it sees that it is lost.
        self._descriptor = os.dup(connection.fileno())
        asyncio.get_running_loop().add_reader(self._descriptor, self._take_in)

    def _connect(self) -> Connection:
        connection = connect(self._target, LISTENING)
        try:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        except BaseException:
            connection.close()
            raise
        return connection

    def _take_in(self) -> None:
        assert self._connection is not None
        try:
            self._connection.pgconn.consume_input()
        except psycopg.Error:
            self._lose()
            return
        has_heard = False
        while (told := self._connection.pgconn.notifies()) is not None:
            has_heard |= told.extra.decode() != self._writer
        if has_heard:
            self._has_heard = True
            for tell in self._listeners:
                tell()

    def heed(self, listener: Callable[[], None]) -> None:
        """Call `listener` as soon as another's commit is heard."""
        self._listeners.append(listener)

    def _lose(self) -> None:
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._connection.close()
            self._connection = None

    def has_heard(self) -> bool:
        """Return whether there may be a foreign commit since this was last asked.

        True also where nothing is sure: while there is no session, and once in a while anyway.
        """
        now = time.monotonic()
        if self._connection is None:
            self._start_again(now)
            return True
        if not self._has_heard and now - self._asked_at < self.poll_s:
            return False
        self._has_heard = False
        self._asked_at = now
        return True

    def _start_again(self, now: float) -> None:
        if self._starting is None and now - self._tried_at >= _RECONNECT_EVERY_S:
            self._starting = asyncio.ensure_future(self.start())
            self._starting.add_done_callback(functools.partial(self._started))

    def _started(self, starting: asyncio.Task[None]) -> None:
        self._starting = None
        if not starting.cancelled():
            starting.exception()  # looked at: the next question tries again

    async def close(self) -> None:
        """Stop listening."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        self._lose()
