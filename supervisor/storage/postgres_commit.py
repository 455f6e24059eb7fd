"""Committing batches on one connection, also across its loss."""

from __future__ import annotations

import time

import psycopg
from psycopg import sql

from supervisor.errors import StoreUnavailable
from supervisor.storage.group_commit import (
    Batch,
    Committed,
    Failed,
    MemberFailed,
    perform_apart,
    perform_together,
)
from supervisor.storage.memory import Memory
from supervisor.storage.postgres_errors import (
    is_conflict,
    is_of_the_batch,
    outcome_unknown,
    translate,
)
from supervisor.storage.postgres_link import Connection, Link
from supervisor.storage.postgres_transaction import PostgresTransaction

#: The first number of every lock of ours: "ACPS" in ASCII. The second is the schema.
LOCK_SPACE = 0x41435053
#: How long a commit tries to get a lost connection back, from when it was lost.
RECONNECT_S = 5.0
_RECONNECT_DELAY_S = 0.05
_RECONNECT_DELAY_MAX_S = 1.0
#: Only another program's transaction can be in conflict with one that holds the lock.
_CONFLICTS_MAX = 5

#: Begins a transaction and takes the lock of all writers.
# The lock is the schema's, so that two stores in one database don't wait for each other.
BEGIN = sql.SQL(
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
    " SELECT pg_advisory_xact_lock({space}, hashtext(current_schema()));"
    " SELECT CAST(txid_current_snapshot() AS TEXT), txid_current()"
).format(space=sql.Literal(LOCK_SPACE))

# In one message with the COMMIT, so that it costs no further way to the server.
_MARK = sql.SQL(
    "INSERT INTO commit_marks (writer, batch, at) VALUES ({writer}, {number}, now())"
    " ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, at = excluded.at;"
    " SELECT pg_notify({channel}, {writer}); COMMIT"
)


class Witness:
    """Tells whether any transaction but this connection's own has committed since its last one.

    The lock of all writers keeps out only those who know of it; a row that is remembered must also
    be what a person's SQL has made of it. Whoever changes a row has a number from one sequence of
    the whole server, and a snapshot says below which one all have ended, but for those it names.
    """

    def __init__(self) -> None:
        self._next: int | None = None

    def is_alone(self, snapshot: str, own: int) -> bool:
        """Return whether nobody has, by the snapshot with which a transaction begins.

        `snapshot` is `xmin:xmax:xip,...` as `txid_current_snapshot` writes it, and `own` the
        number that the transaction was given right after it.
        """
        _, xmax, running = snapshot.split(":")
        was_expected = int(xmax) == self._next and not running
        # All below the own number had ended when this began: the next may trust what it has read.
        is_first = int(xmax) == own and not running
        self._next = own + 1 if is_first else None
        return was_expected

    def forget(self) -> None:
        """Trust nothing at the next transaction."""
        self._next = None


class Patience:
    """How long a lost connection is waited for: a span that starts when it was lost.

    One that has been away for longer than that is asked for once by each batch, without a delay.
    """

    def __init__(self, limit_s: float = RECONNECT_S) -> None:
        self._limit_s = limit_s
        self._lost_at: float | None = None
        self._delay_s = _RECONNECT_DELAY_S

    def found(self) -> None:
        """Forget the loss: there is a connection."""
        self._lost_at = None
        self._delay_s = _RECONNECT_DELAY_S

    def wait(self) -> bool:
        """Wait a little before the next try, and return whether there is to be one."""
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
        if now - self._lost_at + self._delay_s > self._limit_s:
            return False
        time.sleep(self._delay_s)
        self._delay_s = min(self._delay_s * 2, _RECONNECT_DELAY_MAX_S)
        return True


class Committer:
    """Commits batches one after the other; used only on its link's thread.

    Every writer of the store takes one lock first, so that transactions run one after the other,
    as in SQLite: no domain statement needs a row lock, and none is in conflict.

    With each commit goes its number, into this writer's row of `commit_marks`. Where the
    connection breaks during a COMMIT, the next try waits for the lock, which the broken
    transaction holds until it has ended, and reads there whether it was kept. (A transaction's id
    would not do: a crashed server can give the same one out again.)
    """

    def __init__(self, link: Link, *, writer: str, channel: str) -> None:
        """`writer` names this connection among all; `channel` is where commits are told of."""
        self._link = link
        self._writer = writer
        self._names = {"channel": sql.Literal(channel), "writer": sql.Literal(writer)}
        self._number = 0
        self._memory = Memory()
        self._witness = Witness()
        self._patience = Patience()

    def commit(self, batch: Batch) -> Committed:
        """Run the batch in one transaction and commit it.

        Raises:
            StoreUnavailable: it could not be done, or its outcome could not be found out.
        """
        self._number += 1
        attempt = _Attempt(batch, self._link.target.subject)
        conflicts = 0
        while True:
            try:
                done = self._try(attempt)
                self._patience.found()
                return done
            except BaseException as error:
                self._forget()
                if not isinstance(error, psycopg.Error):
                    raise
                self._link.recover(error)
                if is_conflict(error) and conflicts < _CONFLICTS_MAX:
                    conflicts += 1
                elif self._link.is_alive:
                    raise translate(error, attempt.subject) from error
                elif not self._patience.wait():
                    raise attempt.given_up(error) from error

    def _try(self, attempt: _Attempt) -> Committed:
        connection = self._link.connected()
        self._begin(connection)
        if attempt.doubtful is not None and self._is_kept(connection):
            self._link.rest()
            self._forget()
            return attempt.doubtful
        # Whatever was done before is known to be undone.
        attempt.doubtful = None
        try:
            done = attempt.together(connection, self._memory)
        except MemberFailed as failed:
            self._link.rest()
            self._forget()
            if (alone := attempt.failed_alone(failed)) is not None:
                return alone
            self._begin(connection)
            done = attempt.apart(connection)
            # What these change, nobody remembers.
            self._forget()
        attempt.doubtful = done
        mark = _MARK.format(number=sql.Literal(self._number), **self._names)
        self._link.answers.give_meanwhile()
        began_s = time.perf_counter()
        connection.execute(mark, prepare=False)
        done.waited_s = time.perf_counter() - began_s
        return done

    def _begin(self, connection: Connection) -> None:
        cursor = connection.execute(BEGIN, prepare=False)
        while cursor.nextset():
            pass
        found = cursor.fetchone()
        assert found is not None, "the last statement has a row"
        if not self._witness.is_alone(str(found[0]), int(str(found[1]))):
            self._memory.forget()
        self._memory.stay_small()

    def _forget(self) -> None:
        self._memory.forget()
        self._witness.forget()

    def _is_kept(self, connection: Connection) -> bool:
        query = "SELECT batch FROM commit_marks WHERE writer = %s"
        row = connection.execute(query, [self._writer]).fetchone()
        return row is not None and row[0] == self._number

    def forget(self) -> None:
        """Remove this writer's row: nobody will ask for it again."""
        try:
            query = "DELETE FROM commit_marks WHERE writer = %s"
            self._link.connected().execute(query, [self._writer])
        except psycopg.Error:
            return  # the next life that opens the store removes it: postgres_open.py


class _Attempt:
    """A batch, and what a COMMIT without an answer would have done of it."""

    def __init__(self, batch: Batch, subject: str) -> None:
        self._batch = batch
        self.subject = subject
        self.doubtful: Committed | None = None

    def together(self, connection: Connection, memory: Memory) -> Committed:
        """Run all members as one, with what is remembered.

        Raises:
            MemberFailed: one of them failed by its own fault.
            psycopg.Error: the store failed.
        """
        try:
            return perform_together(self._batch, PostgresTransaction(connection, memory))
        except MemberFailed as failed:
            if (error := _of_the_batch(failed)) is not None:
                raise error from failed
            raise

    def failed_alone(self, failed: MemberFailed) -> Committed | None:
        """Return what to tell the only member of the batch, None where it is not the only one."""
        if len(self._batch) > 1:
            return None
        assert isinstance(failed.__cause__, Exception), failed.__cause__
        told = translate(failed.__cause__, self.subject)
        refused = int(isinstance(told, StoreUnavailable))
        return Committed([Failed(told)], [], refused)

    def apart(self, connection: Connection) -> Committed:
        """Run each member under a savepoint, so that one that fails, fails alone.

        Raises:
            psycopg.Error: the store failed.
        """

        def begin() -> PostgresTransaction:
            return PostgresTransaction(connection)

        def execute(command: str) -> None:
            connection.execute(command, prepare=False)

        def told(error: Exception) -> Exception | None:
            return None if is_of_the_batch(error) else translate(error, self.subject)

        return perform_apart(self._batch, begin, execute, told)

    def given_up(self, error: psycopg.Error) -> StoreUnavailable | Exception:
        """Return what the callers are told once the connection does not come back."""
        if self.doubtful is not None:
            return outcome_unknown(error, self.subject)
        return translate(error, self.subject)


def _of_the_batch(failed: MemberFailed) -> Exception | None:
    error = failed.__cause__
    return error if isinstance(error, Exception) and is_of_the_batch(error) else None
