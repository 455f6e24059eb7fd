"""A session's legal moves, in code and in the database alike."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import msgspec
import pytest

from supervisor.errors import IllegalMove
from supervisor.events.log import Origin
from supervisor.governance.rotation import (
    SessionPlan,
    adopt_or_rotate,
    close_session,
    find_session,
    pause_session,
    resume_session,
)
from supervisor.governance.session import MOVES, Session, SessionStatus, check_move
from tests.direct_store import DirectStore

NOW = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)
ORIGIN = Origin(at=NOW, actor="t")
PLAN = SessionPlan(worker="w", span_s=3600, timezone=ZoneInfo("UTC"))


def opened() -> tuple[DirectStore, Session]:
    store = DirectStore()
    session = store.write(adopt_or_rotate, PLAN, ORIGIN)
    assert session is not None
    return store, session


@pytest.mark.parametrize(("before", "after"), list(product(SessionStatus, SessionStatus)))
def test_code_and_database_allow_the_same_moves(
    before: SessionStatus, after: SessionStatus
) -> None:
    store, session = opened()
    store.connection.execute("DROP TRIGGER sessions_legal_moves")
    sql = "UPDATE sessions SET status = ?, summary = ?"
    store.connection.execute(sql, (before, _summary(before)))
    store.connection.execute(store_trigger())
    is_legal = after in MOVES[before]
    if is_legal or before is after:
        store.connection.execute(sql, (after, _summary(after)))
    else:
        with pytest.raises(sqlite3.IntegrityError, match="illegal move"):
            store.connection.execute(sql, (after, _summary(after)))
    moved = msgspec.structs.replace(session, status=before)
    if is_legal:
        check_move(moved, after)
    else:
        with pytest.raises(IllegalMove):
            check_move(moved, after)
    store.close()


def _summary(status: SessionStatus) -> str | None:
    return None if MOVES[status] else "{}"


def store_trigger() -> str:
    fresh = DirectStore()
    (sql,) = fresh.connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = 'sessions_legal_moves'"
    ).fetchone()
    fresh.close()
    return str(sql)


def test_a_worker_has_one_open_session_at_most() -> None:
    store, session = opened()
    with pytest.raises(sqlite3.IntegrityError):
        store.connection.execute(
            "INSERT INTO sessions (id, worker, window_start, window_end, execution_mode, status,"
            " opened_at) VALUES ('other', 'w', 1, 2, 'live', 'active', 1)"
        )
    assert session.status is SessionStatus.ACTIVE
    store.close()


def test_nothing_runs_or_is_recorded_in_a_sealed_session() -> None:
    store, session = opened()
    store.write(close_session, session, ORIGIN)
    with pytest.raises(IllegalMove):
        store.write(close_session, _again(store, session), ORIGIN)
    with pytest.raises(IllegalMove):
        store.write(resume_session, _again(store, session), ORIGIN, why="x")
    store.close()


def _again(store: DirectStore, session: Session) -> Session:
    found = store.write(find_session, session.id)
    assert found is not None
    return found


def test_a_session_paused_for_a_person_is_resumed_neither_by_a_start_nor_by_its_window() -> None:
    store, session = opened()
    store.write(pause_session, session, ORIGIN, why="spend cap")
    for later in (timedelta(0), timedelta(hours=5)):
        origin = Origin(at=NOW + later, actor="t")
        adopted = store.write(adopt_or_rotate, PLAN, origin)
        assert adopted is not None
        assert (adopted.id, adopted.status) == (session.id, SessionStatus.PAUSED)
    store.close()


def test_a_session_that_the_stop_paused_is_resumed_by_the_next_start() -> None:
    store, session = opened()
    store.write(pause_session, session, ORIGIN, why="daemon stopped")
    adopted = store.write(adopt_or_rotate, PLAN, ORIGIN)
    assert adopted is not None
    assert (adopted.id, adopted.status) == (session.id, SessionStatus.ACTIVE)
    store.close()


def test_events_can_be_neither_changed_nor_deleted() -> None:
    store, _ = opened()
    for sql in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store.connection.execute(sql)
    store.close()
