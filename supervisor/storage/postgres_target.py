"""Where a Postgres store is, and how its sessions are set up."""

from __future__ import annotations

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from supervisor.errors import StoreUnavailable
from supervisor.storage.postgres_errors import LOCK_WAIT_S

#: What a reader's single statement may take: a report over years of holds.
READ_S = 30.0
#: What a writer's single statement may take; more than it waits for a lock, so that a lock is
#: told as one.
WRITE_S = LOCK_WAIT_S + 2
#: How long a writer may be silent inside a transaction (a stopped process, a cut network) before
#: the server ends it; less than others wait for the lock that it holds.
_SILENCE_S = LOCK_WAIT_S - 1
#: Longer than the server's own limit; for a server, or a way to it, that does not answer at all.
_ANSWER_SPARE_S = 2.0

# A cut network is noticed within seconds, also while nothing is being said. What the URL says of
# these goes before.
_DEFAULTS = {
    "application_name": "supervisor",
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}

_SETTINGS = (
    "SET client_encoding = 'UTF8'; SET client_min_messages = 'warning';"
    " SET lock_timeout = '{lock_ms}ms'; SET statement_timeout = '{statement_ms}ms';"
    " SET idle_in_transaction_session_timeout = '{silence_ms}ms';"
    # For whoever looks at pg_stat_activity.
    " SELECT set_config('application_name', concat(current_setting('application_name'), ' {name}'),"
    " false)"
)

# A spent cent is on disk before its call starts. What waits for a standby as well stays.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A server and a database on it; `name` is its URL without what must not be told."""

    conninfo: str
    name: str

    @property
    def subject(self) -> str:
        """Return the store as errors name it."""
        return f"store {self.name}"


class SessionKind(msgspec.Struct, frozen=True, kw_only=True):
    """How a session is set up; spans in seconds.

    `answer_s` is what this side waits for the answer to one statement.
    """

    name: str
    statement_s: float
    is_read_only: bool

    @property
    def answer_s(self) -> float:
        return self.statement_s + _ANSWER_SPARE_S

    @property
    def settings(self) -> str:
        """Return the statements that set a fresh session up."""
        settings = _SETTINGS.format(
            name=self.name,
            lock_ms=int(LOCK_WAIT_S * 1000),
            statement_ms=int(self.statement_s * 1000),
            silence_ms=int((READ_S if self.is_read_only else _SILENCE_S) * 1000),
        )
        if self.is_read_only:
            return f"{settings}; SET default_transaction_read_only = on"
        return f"{settings}; {_DURABLE}"


WRITING = SessionKind(name="writer", statement_s=WRITE_S, is_read_only=False)
READING = SessionKind(name="reader", statement_s=READ_S, is_read_only=True)
LISTENING = SessionKind(name="listener", statement_s=READ_S, is_read_only=True)


def parse_url(url: str) -> Target:
    """Return the target that a `postgresql://` URL names.

    Raises:
        StoreUnavailable: libpq can't read it.
    """
    try:
        asked = conninfo_to_dict(url)
    except psycopg.Error:
        # Without its cause: libpq's text repeats the URL, password and all.
        raise StoreUnavailable(
            subject="store postgresql://...",
            what="[supervisor] database is not a URL that libpq can read",
            fix='write "postgresql://USER@HOST:PORT/DATABASE"; encode what is special as %XX',
        ) from None
    parameters = {**_DEFAULTS, **{key: value for key, value in asked.items() if value}}
    host = asked.get("host") or asked.get("hostaddr") or ""
    port = f":{asked['port']}" if asked.get("port") else ""
    return Target(
        conninfo=make_conninfo("", **parameters),
        name=f"postgresql://{host}{port}/{asked.get('dbname') or ''}",
    )
