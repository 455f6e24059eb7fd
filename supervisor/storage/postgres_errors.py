"""What the store says where Postgres, or the way to it, fails."""

from __future__ import annotations

import psycopg
from psycopg import errors

from supervisor.errors import StoreDamaged, StoreUnavailable

#: What a session waits for another's lock, and for the answer to any statement of a write.
LOCK_WAIT_S = 5.0

_KEPT_BACK = "nothing was written"
_ENDS = ("FATAL", "PANIC")


def is_of_the_batch(error: Exception) -> bool:
    """Return whether the error is no member's fault, so that it ends a whole batch.

    Such are a lost connection, a lock that others hold, a full disk, a server that shuts down.
    """
    kinds = psycopg.OperationalError | psycopg.InterfaceError | errors.ReadOnlySqlTransaction
    return isinstance(error, kinds) or is_fatal(error)


def is_fatal(error: Exception) -> bool:
    """Return whether the server has ended the session with this error."""
    return isinstance(error, psycopg.Error) and error.diag.severity_nonlocalized in _ENDS


def is_conflict(error: Exception) -> bool:
    """Return whether the same transaction may well succeed when it is run again."""
    return isinstance(error, errors.SerializationFailure | errors.DeadlockDetected)


def translate(error: Exception, subject: str) -> Exception:
    """Return the store's error for Postgres's; a broken rule of the schema stays itself."""
    if not isinstance(error, psycopg.Error):
        return error
    text = " ".join(str(error).split())
    # 1. The database is not as we left it.
    if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted | errors.UndefinedTable):
        return StoreDamaged(
            subject=subject,
            what=f"is damaged ({text}); {_KEPT_BACK}",
            fix="stop the daemon, keep the database, and restore a backup beside it",
        )
    # 2. What a person can mend, each with its cure.
    for kinds, what, fix in _CURES:
        if isinstance(error, kinds):
            return StoreUnavailable(subject=subject, what=f"{what} ({text})", fix=fix)
    # 3. The way to it. A failed login has no code of its own here, only the server's word.
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        fix = "check that the server runs and can be reached; it is tried again by itself"
        if error.sqlstate is None and "FATAL" in text:
            fix = (
                "check that the database is there (createdb), and the user with its password"
                " (PGPASSWORD or ~/.pgpass)"
            )
        what = f"{text or type(error).__name__}; {_KEPT_BACK}"
        return StoreUnavailable(subject=subject, what=what, fix=fix)
    return error


_CURES: tuple[tuple[tuple[type[psycopg.Error], ...], str, str], ...] = (
    (
        (errors.LockNotAvailable,),
        f"was locked for {LOCK_WAIT_S:g} s by another session; {_KEPT_BACK}",
        "end the session that holds it: see pg_locks and pg_stat_activity",
    ),
    (
        (errors.QueryCanceled,),
        f"a statement took too long and was cancelled; {_KEPT_BACK}",
        "see what the server is busy with in pg_stat_activity",
    ),
    (
        (errors.DiskFull,),
        f"the server's disk is full; {_KEPT_BACK}",
        "free some space on the server",
    ),
    (
        (errors.ReadOnlySqlTransaction,),
        f"takes no writes; {_KEPT_BACK}",
        "name the primary server: a standby, and a store opened for reading, take none",
    ),
    (
        (errors.InsufficientPrivilege,),
        "the user lacks a right that the store needs",
        "give the database to that user: ALTER DATABASE ... OWNER TO ...",
    ),
)


def outcome_unknown(error: Exception, subject: str) -> StoreUnavailable:
    """Return the error for a commit whose answer was lost, and could not be found out since."""
    text = " ".join(str(error).split())
    return StoreUnavailable(
        subject=subject,
        what=f"the connection was lost during a commit, whose outcome is unknown ({text})",
        fix="ask again with the same command id once the server answers: nothing is done twice",
    )


def opened_for_reading(subject: str) -> StoreUnavailable:
    """Return the error for a write to a store that was opened for reading alone."""
    return StoreUnavailable(
        subject=subject,
        what=f"was opened for reading only; {_KEPT_BACK}",
        fix="ask the daemon, or a command that writes",
    )
