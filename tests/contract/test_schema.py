"""What the schema itself refuses, whoever asks; and that both databases have the same one."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from zoneinfo import ZoneInfo

import pytest

from supervisor.events.log import Origin
from supervisor.governance.rotation import SessionPlan, adopt_or_rotate
from supervisor.governance.session import MOVES, SessionStatus
from supervisor.storage import migrate
from supervisor.storage.database import Database
from supervisor.storage.memory import APART
from tests.contract.site import Site
from tests.databases import BROKEN_RULES, Kind, RawConnection, opened_database, store_url

NOW = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)
PLAN = SessionPlan(worker="w", span_s=3600, timezone=ZoneInfo("UTC"))
SESSION = (
    "INSERT INTO sessions (id, worker, window_start, window_end, execution_mode, status, summary,"
    " opened_at) VALUES (?, ?, ?, ?, 'live', ?, ?, 1)"
)
ACCOUNT = (
    "INSERT INTO accounts (id, scope, period, period_key, unit, limit_amount, settled, held,"
    " opened_at) VALUES (?, 'system', ?, ?, ?, ?, ?, ?, 1)"
)
HOLD = (
    "INSERT INTO holds (id, boot_id, worker, session_id, tick, model, what, account_ids, placed_at,"
    " cost_held, tokens_held, actions_held, status, ended_at)"
    " VALUES (?, 'b', 'w', ?, 1, 'm', '', '', 1, ?, 0, 0, ?, ?)"
)
TICK = (
    "INSERT INTO ticks (worker, number, boot_id, started_at, ended_at, outcome)"
    " VALUES ('w', ?, 'b', 1, ?, ?)"
)
#: Only Postgres has it: supervisor/storage/migrations/postgres says why.
ONLY_POSTGRES = {"commit_marks"}


def summary(status: SessionStatus) -> str | None:
    return None if MOVES[status] else "{}"


@pytest.mark.parametrize(("before", "after"), list(product(SessionStatus, SessionStatus)))
def test_a_session_moves_only_as_the_code_allows(
    raw: RawConnection, before: SessionStatus, after: SessionStatus
) -> None:
    raw.run(SESSION, "s", "w", 1, 2, before.value, summary(before))
    move = "UPDATE sessions SET status = ?, summary = ?"
    if after in MOVES[before] or before is after:
        assert raw.run(move, after.value, summary(after)) == 1
    else:
        with pytest.raises(BROKEN_RULES, match="illegal move"):
            raw.run(move, after.value, summary(after))


@pytest.mark.parametrize(
    "change", ["UPDATE events SET kind = 'x'", "UPDATE events SET at = 2", "DELETE FROM events"]
)
async def test_events_can_be_neither_changed_nor_deleted(
    database: Database, raw: RawConnection, change: str
) -> None:
    await database.write(adopt_or_rotate, PLAN, Origin(at=NOW, actor="t"))
    before = raw.rows("SELECT * FROM events")
    assert before
    with pytest.raises(BROKEN_RULES, match="append-only"):
        raw.run(change)
    assert raw.rows("SELECT * FROM events") == before


@pytest.mark.parametrize("before", ["open", "settled", "released", "forfeited"])
@pytest.mark.parametrize("after", ["open", "settled", "released", "forfeited"])
def test_a_hold_ends_once_and_only_a_forfeited_one_is_put_right(
    raw: RawConnection, before: str, after: str
) -> None:
    raw.run(SESSION, "s", "w", 1, 2, "active", None)
    raw.run(HOLD, "h", "s", 1, before, None if before == "open" else 2)
    change = "UPDATE holds SET status = ?, ended_at = ?"
    ended_at = None if after == "open" else 3
    if before == "open" or (before, after) == ("forfeited", "settled"):
        assert raw.run(change, after, ended_at) == 1
    else:
        with pytest.raises(BROKEN_RULES, match="ends once"):
            raw.run(change, after, ended_at)


BROKEN = {
    "a second open session of a worker": (SESSION, "b", "w", 3, 4, "active", None),
    "a second session in one window": (SESSION, "b", "w", 1, 9, "completed", "{}"),
    "a window that ends before it begins": (SESSION, "b", "v", 2, 2, "active", None),
    "a session that is sealed without a summary": (SESSION, "b", "v", 1, 2, "completed", None),
    "an open session with a summary": (SESSION, "b", "v", 1, 2, "active", "{}"),
    "a status that is none": (SESSION, "b", "v", 1, 2, "asleep", None),
    "an account above its limit": (ACCOUNT, "b", "day", "k", "tokens", 10, 6, 5),
    "a hold below zero": (ACCOUNT, "b", "day", "k", "tokens", 10, 0, -1),
    "a settled amount below zero": (ACCOUNT, "b", "day", "k", "tokens", 10, -1, 0),
    "a limit below zero": (ACCOUNT, "b", "day", "k", "tokens", -1, 0, 0),
    "a unit that is none": (ACCOUNT, "b", "day", "k", "euro", 10, 0, 0),
    "a period that is none": (ACCOUNT, "b", "year", "k", "tokens", 10, 0, 0),
    "a second account of a period": (ACCOUNT, "b", "day", "2026", "tokens", 10, 0, 0),
    "a hold of less than nothing": (HOLD, "b", "a", -1, "open", None),
    "an open hold that has ended": (HOLD, "b", "a", 1, "open", 5),
    "an ended hold that has not": (HOLD, "b", "a", 1, "settled", None),
    "a hold with a status that is none": (HOLD, "b", "a", 1, "lost", 5),
    "a hold of no session": (HOLD, "b", "nobody", 1, "open", None),
    "a hold with the id of another": (HOLD, "a", "a", 1, "open", None),
    "a tick that ended without an outcome": (TICK, 2, 5, None),
    "a tick with an outcome that runs": (TICK, 2, None, "ok"),
    "a second tick with one number": (TICK, 1, None, None),
    "a second clock of the ledger": ("INSERT INTO ledger_clock (id, at) VALUES (2, 1)",),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_row_that_breaks_a_rule_is_refused(raw: RawConnection, kind: Kind, what: str) -> None:
    if kind == "sqlite":
        raw.run("PRAGMA foreign_keys = ON")
    raw.run(SESSION, "a", "w", 1, 2, "active", None)
    raw.run(ACCOUNT, "a", "day", "2026", "tokens", 10, 5, 5)
    raw.run(HOLD, "a", "a", 1, "open", None)
    raw.run(TICK, 1, 5, "ok")
    statement, *values = BROKEN[what]
    with pytest.raises(BROKEN_RULES):
        raw.run(str(statement), *values)


def columns(raw: RawConnection, kind: Kind) -> dict[str, list[tuple[object, ...]]]:
    """Return each table's columns in their order: name, kind of value, whether it may be NULL."""
    if kind == "sqlite":
        tables = raw.rows(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        return {
            str(table): [
                (name, str(type_), not_null == 1 or key == 1)
                for _, name, type_, not_null, _, key in raw.rows(f"PRAGMA table_info({table})")
            ]
            for (table,) in tables
        }
    found: dict[str, list[tuple[object, ...]]] = {}
    for table, *column in raw.rows(
        "SELECT table_name, column_name, data_type, is_nullable = 'NO' FROM"
        " information_schema.columns WHERE table_schema = current_schema()"
        " ORDER BY table_name, ordinal_position"
    ):
        found.setdefault(str(table), []).append(tuple(column))
    same = {"bigint": "INTEGER", "text": "TEXT", "bytea": "BLOB"}
    return {
        table: [(name, same.get(str(type_), type_), not_null) for name, type_, not_null in listed]
        for table, listed in found.items()
    }


async def test_both_databases_have_the_same_tables_and_columns(
    raw: RawConnection, kind: Kind, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sqlite")
    async with opened_database("sqlite", folder, ""):
        reference = RawConnection(store_url("sqlite", folder, ""))
        expected = columns(reference, "sqlite")
        reference.close()
    found = columns(raw, kind)
    assert {table: found[table] for table in found.keys() - ONLY_POSTGRES} == expected
    assert len(expected) > 10


async def test_a_store_that_was_migrated_step_by_step_is_like_a_fresh_one(
    site: Site, raw: RawConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = columns(raw, site.kind), rules(raw, site.kind)
    every = migrate.available(site.kind)
    older = site.beside("older")
    for number in range(1, len(every) + 1):
        monkeypatch.setattr(migrate, "available", lambda _, n=number: every[:n])
        opened = await older.open()
        await opened.close()
    connection = RawConnection(older.url)
    assert (columns(connection, site.kind), rules(connection, site.kind)) == fresh
    connection.close()


def test_tables_apart_neither_refer_nor_are_referred_to_nor_read_others(
    raw: RawConnection, kind: Kind
) -> None:
    if kind == "sqlite":
        tables = raw.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        references = {
            (table, other)
            for (table,) in tables
            for (other,) in raw.rows('SELECT "table" FROM pragma_foreign_key_list(?)', table)
        }
        triggers = raw.rows("SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
    else:
        references = {
            (table, other)
            for table, other in raw.rows(
                "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint"
                " WHERE contype = 'f'"
            )
        }
        triggers = raw.rows(
            "SELECT tgrelid::regclass::text, pg_get_functiondef(tgfoid) FROM pg_trigger"
            " WHERE NOT tgisinternal"
        )
    assert ("events", "sessions") in references
    assert not APART & {str(table) for pair in references for table in pair}
    of_theirs = [str(text) for table, text in triggers if table in APART]
    assert of_theirs
    assert not any(" FROM " in text.upper() for text in of_theirs)


def rules(raw: RawConnection, kind: Kind) -> list[tuple[object, ...]]:
    """Return every index, check and trigger."""
    if kind == "sqlite":
        return raw.rows("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name")
    return raw.rows(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = current_schema()::regnamespace"
        " UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
        " UNION ALL SELECT tgname, pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger"
        " JOIN pg_class ON pg_class.oid = tgrelid WHERE NOT tgisinternal"
        " AND relnamespace = current_schema()::regnamespace ORDER BY 1, 2"
    )
