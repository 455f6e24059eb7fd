"""Opening a Postgres store: checked, migrated, listened to."""

from __future__ import annotations

import functools
import secrets
from contextlib import closing

import msgspec
import psycopg

from supervisor.errors import StoreDamaged, StoreUnavailable
from supervisor.storage import migrate
from supervisor.storage.group_commit import parse
from supervisor.storage.postgres import PostgresDatabase
from supervisor.storage.postgres_commit import BEGIN, Committer
from supervisor.storage.postgres_errors import translate
from supervisor.storage.postgres_link import Connection, Link, connect
from supervisor.storage.postgres_listen import Listening
from supervisor.storage.postgres_target import READING, WRITING, Target, parse_url
from supervisor.storage.postgres_transaction import DIALECT

_VERSION_MIN = 13
# Tables of the first schema of the search path, but those of extensions.
_WHOSE = """
SELECT
    (SELECT count(*) FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
         AND NOT EXISTS (
            SELECT 1 FROM pg_depend WHERE pg_depend.objid = pg_class.oid AND deptype = 'e'
         )),
    (SELECT obj_description(oid, 'pg_class') FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relname = 'schema_migrations')
"""
_OURS = "acp-supervisor"  # the comment on schema_migrations: this schema is ours


async def open_postgres(url: str, *, now_us: int, is_read_only: bool) -> PostgresDatabase:
    """Open the store at `url`, in the first schema of its search path.

    Raises:
        StoreUnavailable: it can't be opened, is damaged, or is of another version.
    """
    target = parse_url(url)
    link = Link(target, READING if is_read_only else WRITING)
    try:
        prepare = functools.partial(_prepare, now_us=now_us, is_read_only=is_read_only)
        schema_number = await link.submit(prepare)
        if is_read_only:
            return PostgresDatabase(writer=None, committer=None, reader=link, listening=None)
        return await _opened(link, schema_number)
    except BaseException:
        await link.close()
        raise


def is_unused(url: str) -> bool:
    """Return whether the server says that nothing was ever stored there; False if it does not."""
    target = parse_url(url)
    try:
        with closing(connect(target, READING)) as connection:
            _check_server(connection, target)
            return _applied(connection, target) == []
    except (psycopg.Error, StoreUnavailable):
        return False


async def _opened(writer: Link, schema_number: int) -> PostgresDatabase:
    target = writer.target
    name = secrets.token_hex(8)
    channel = f"supervisor_{schema_number}"
    listening = Listening(target, writer=name, channel=channel)
    try:
        await listening.start()
    except psycopg.Error as error:
        raise translate(error, target.subject) from error
    return PostgresDatabase(
        writer=writer,
        committer=Committer(writer, writer=name, channel=channel),
        reader=Link(target, READING),
        listening=listening,
    )


def _prepare(link: Link, *, now_us: int, is_read_only: bool) -> int:
    """Check the server and the store, migrate it, and return its schema's number."""
    target = link.target
    try:
        connection = link.connected()
        schema_number = _check_server(connection, target)
        if is_read_only:
            _check_current(connection, target)
        else:
            while _apply_next(connection, target, now_us):
                pass
            connection.execute(
                "DELETE FROM commit_marks WHERE at < now() - INTERVAL '1 day'", prepare=False
            )
        return schema_number
    except psycopg.Error as error:
        link.recover(error)
        raise translate(error, target.subject) from error
    finally:
        link.rest()


class _Server(msgspec.Struct, frozen=True):
    """What a server and a session on it must be like."""

    version: int
    encoding: str
    fsync: str
    search_path: str
    schema_number: int | None


_SERVER = """
SELECT
    current_setting('server_version_num')::int / 10000,
    current_setting('server_encoding'),
    current_setting('fsync'),
    current_setting('search_path'),
    to_regnamespace(quote_ident(current_schema()))::oid
"""


def _check_server(connection: Connection, target: Target) -> int:
    row = connection.execute(_SERVER).fetchone()
    assert row is not None, "Postgres has no settings"
    server = parse(_Server.__struct_fields__, row, _Server)
    # 1. Old, or with text that is not ours.
    if server.version < _VERSION_MIN:
        what, fix = f"is Postgres {server.version}", f"{_VERSION_MIN} is the oldest that will do"
    elif server.encoding != "UTF8":
        what = f"keeps its text as {server.encoding}"
        fix = "make the database with ENCODING 'UTF8' TEMPLATE template0"
    # 2. One that forgets.
    elif server.fsync != "on":
        what = "runs with fsync = off: what was spent could be forgotten"
        fix = "set fsync = on in postgresql.conf"
    # 3. Nowhere to put the tables.
    elif server.schema_number is None:
        what = f"has none of the schemas of its search path ({server.search_path})"
        fix = "CREATE SCHEMA, or name another with ?options=-csearch_path%3DNAME"
    else:
        return server.schema_number
    raise StoreUnavailable(subject=target.subject, what=what, fix=fix)


def _apply_next(connection: Connection, target: Target, now_us: int) -> bool:
    """Run the next migration in a transaction of its own; return whether there was one.

    Under the lock of all writers, so that of two daemons that migrate at once one does it.
    """
    connection.execute(BEGIN, prepare=False)
    todo = _pending(connection, target)
    if not todo:
        connection.execute("ROLLBACK")
        return False
    migration = todo[0]
    connection.execute(migration.sql, prepare=False)
    connection.execute(
        "INSERT INTO schema_migrations (number, name, checksum, applied_at)"
        " VALUES (%s, %s, %s, %s)",
        (migration.number, migration.name, migration.checksum, now_us),
    )
    connection.execute("COMMIT")
    return True


def _check_current(connection: Connection, target: Target) -> None:
    todo = _pending(connection, target)
    if todo:
        number = todo[0].number
        what = "is empty" if number == 1 else f"is of an older version (schema {number} is missing)"
        fix = "start the daemon once with `supervisor run`: it migrates the store"
        raise StoreUnavailable(subject=target.subject, what=what, fix=fix)


def _pending(connection: Connection, target: Target) -> list[migrate.Migration]:
    applied = _applied(connection, target)
    return migrate.pending(migrate.available(DIALECT), applied, store=target.name)


def _applied(connection: Connection, target: Target) -> list[migrate.Applied]:
    """Return what has run here, before anything is changed; all tables must be ours."""
    row = connection.execute(_WHOSE).fetchone()
    assert row is not None, "Postgres has no catalogue"
    tables, comment = row
    if not tables:
        return []
    if comment != _OURS:
        raise StoreDamaged(
            subject=target.subject,
            what="has tables, but not the supervisor's; nothing was changed",
            fix="make it a database of its own, or a schema: ?options=-csearch_path%3DNAME",
        )
    rows = connection.execute("SELECT number, name, checksum FROM schema_migrations").fetchall()
    return [
        msgspec.convert(
            dict(zip(("number", "name", "checksum"), found, strict=True)), migrate.Applied
        )
        for found in rows
    ]
