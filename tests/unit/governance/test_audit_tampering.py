"""The audit against somebody who knows the store: forged, rewritten and cut chains, odd states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from supervisor.events.log import EventRow, chain_row
from supervisor.governance.audit_findings import FINDINGS_MAX
from tests.unit.governance.recorded_life import Damage, RecordedLife

OPEN_ONE = "SELECT id FROM sessions WHERE worker = 'digest' AND summary IS NULL"
SEALED_ONE = "SELECT id FROM sessions WHERE worker = 'digest' AND summary IS NOT NULL"
COLUMNS = (
    "position, session_id, seq, at, kind, actor, correlation_id, command_id, state_bearing,"
    " payload, hash"
)


class Forger(Damage):
    """Somebody who can also work out hashes."""

    def session(self, sql: str) -> str:
        return msgspec.convert(self.rows(sql)[0][0], str)

    def events(self, session_id: str) -> list[EventRow]:
        found = self.rows(
            f"SELECT {COLUMNS} FROM events WHERE session_id = ? ORDER BY seq",  # noqa: S608 - a test's own text
            session_id,
        )
        names = COLUMNS.replace(" ", "").split(",")
        return [
            msgspec.convert(dict(zip(names, row, strict=True)), EventRow, strict=False)
            for row in found
        ]

    def rewrite(self, session_id: str) -> None:
        """Give every event of a session the hash that fits, and the session's row the last."""
        digest, seq = b"", 0
        for row in self.events(session_id):
            digest, seq = chain_row(digest, row), row.seq
            self.run("UPDATE events SET hash = ? WHERE position = ?", digest, row.position)
        self.run(
            "UPDATE sessions SET last_seq = ?, last_hash = ? WHERE id = ?", seq, digest, session_id
        )

    def forge(self, session_id: str, kind: str, payload: str) -> None:
        """Append an event as if the daemon had written it."""
        self.run(
            "INSERT INTO events (session_id, seq, at, kind, actor, correlation_id, command_id,"
            " state_bearing, payload, hash) SELECT session_id, max(seq) + 1, max(at), ?, 'test',"
            " '', '', 1, ?, x'' FROM events WHERE session_id = ?",
            kind,
            payload,
            session_id,
        )
        self.rewrite(session_id)


@pytest.fixture
def forger(day: RecordedLife, tmp_path: Path) -> Iterator[Forger]:
    forger = Forger(tmp_path / "supervisor.db")
    yield forger
    forger.close()


async def told(day: RecordedLife) -> str:
    report = await day.audit()
    assert not report.is_clean
    return "\n".join(finding.text for finding in report.findings)


# --- chains that fit


async def test_forged_event_that_continues_the_chain_is_seen_by_the_counters(
    day: RecordedLife, forger: Forger
) -> None:
    session_id = forger.session(OPEN_ONE)
    forger.forge(session_id, "cycle_skipped", '{"worker":"x","tick":1,"code":"c","why":"w"}')
    text = await told(day)
    assert f"session {session_id}: its counters says ticks" in text
    assert "not as it was written" not in text


async def test_forged_release_is_seen_by_its_hold_and_its_accounts(
    day: RecordedLife, forger: Forger
) -> None:
    session_id = forger.session(OPEN_ONE)
    ((hold,),) = forger.rows("SELECT id FROM holds WHERE status = 'open'")
    forger.forge(session_id, "hold_released", f'{{"hold":"{hold}","why":"not sent"}}')
    text = await told(day)
    assert f"hold {hold}: its row says status open, its events released" in text
    assert "account system/day/2026-06-01/micro_usd: its row says held 6000, its events 0" in text


async def test_rewritten_chain_of_a_sealed_session_is_seen_by_its_seal(
    day: RecordedLife, forger: Forger
) -> None:
    session_id = forger.session(SEALED_ONE)
    forger.run(
        "UPDATE events SET actor = 'somebody' WHERE session_id = ? AND kind = 'cycle_started'",
        session_id,
    )
    forger.rewrite(session_id)
    report = await day.audit()
    assert [finding.subject for finding in report.findings] == [f"session {session_id}"]
    assert "its summary says last_hash" in report.findings[0].what


async def test_rewritten_chain_with_another_amount_is_seen_by_the_ledger(
    day: RecordedLife, forger: Forger
) -> None:
    session_id, seq = forger.event("hold_settled")
    forger.run(
        "UPDATE events SET payload = replace(payload, '\"cost\":1000', '\"cost\":1')"
        " WHERE session_id = ? AND seq = ?",
        session_id,
        seq,
    )
    forger.rewrite(session_id)
    text = await told(day)
    assert "hold digest#1/1: its row says cost_settled 1000, its events 1" in text
    assert "account system/day/2026-06-01/micro_usd: its row says settled" in text


async def test_rewritten_chain_that_changes_nothing_counted_is_out_of_reach(
    day: RecordedLife, forger: Forger
) -> None:
    """What docs/audit.md says: who can write the store and its hashes can rewrite words."""
    session_id = forger.session(OPEN_ONE)
    forger.run("UPDATE events SET actor = 'somebody' WHERE session_id = ?", session_id)
    forger.rewrite(session_id)
    assert (await day.audit()).is_clean


@pytest.mark.parametrize("kind", ["hold_placed", "cycle_started"])
async def test_cut_off_end_with_a_session_row_that_fits_is_seen_by_what_it_left(
    day: RecordedLife, forger: Forger, kind: str
) -> None:
    session_id, seq = forger.event(kind, number=-1)
    forger.run("DELETE FROM events WHERE session_id = ? AND seq >= ?", session_id, seq)
    forger.rewrite(session_id)
    text = await told(day)
    assert "has a row, but no event has placed it" in text


async def test_session_that_is_gone_with_all_that_it_had_is_missed_by_the_next(
    day: RecordedLife, forger: Forger
) -> None:
    session_id = forger.session(f"{SEALED_ONE} ORDER BY window_start")
    for table in ("events", "holds", "ticks", "checkpoints", "accounts"):
        column = "session_id" if table != "accounts" else "period_key"
        forger.run(f"DELETE FROM {table} WHERE {column} = ?", session_id)  # noqa: S608 - a test's own text
    forger.run("DELETE FROM sessions WHERE id = ?", session_id)
    text = await told(day)
    assert f"follows session {session_id}, before it is none" in text


# --- states beside the money


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            "DELETE FROM kill_latches",
            "kill worker:triage: its events say released, it has no row",
        ),
        (
            "UPDATE kill_latches SET is_engaged = 1",
            "kill worker:triage: its row says engaged, its events released",
        ),
        (
            "INSERT INTO kill_latches VALUES ('system', 0, 'x', 'x', 1)",
            "kill system: its row says released, its events nothing",
        ),
        (
            "UPDATE breakers SET state = 'closed'",
            "breaker worker:triage: its row says state closed, its events open",
        ),
        ("DELETE FROM breakers", "breaker worker:triage: its events say open, it has no row"),
        (
            "DELETE FROM commands WHERE operation = 'release'",
            "has an event but no row",
        ),
        (
            "UPDATE commands SET operation = 'kill' WHERE operation = 'reconcile'",
            "its row says kill, its event reconcile",
        ),
        (
            "UPDATE commands SET content = replace(content, '2500', '1')",
            "its content is not that which it was recorded with",
        ),
        ("UPDATE ledger_clock SET at = 0", "ledger clock: stands before the latest hold"),
        ("DELETE FROM ledger_clock", "ledger clock: has no row"),
    ],
)
async def test_state_that_was_changed_by_hand_is_named(
    day: RecordedLife, forger: Forger, change: str, what: str
) -> None:
    assert forger.run(change) >= 1
    assert what in await told(day)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("status = 'paused'", "status"),
        ("window_end = window_end + 1", "window_end"),
        ("window_start = window_start - 1", "window_start"),
        ("received_note = 'do it all again'", "received_note"),
        ("worker = 'other'", "worker"),
    ],
)
async def test_edited_session_is_named(
    day: RecordedLife, forger: Forger, change: str, field: str
) -> None:
    session_id = forger.session(OPEN_ONE)
    forger.run(f"UPDATE sessions SET {change} WHERE id = ?", session_id)  # noqa: S608 - a test's own text
    report = await day.audit()
    assert [finding.subject for finding in report.findings] == [f"session {session_id}"]
    assert f"its row says {field}" in report.findings[0].what


async def test_engaged_kill_that_was_deleted_is_named(day: RecordedLife, forger: Forger) -> None:
    await day.kill("system")
    assert (await day.audit()).is_clean
    forger.run("DELETE FROM kill_latches WHERE scope = 'system'")
    assert "kill system: its events say engaged, it has no row" in await told(day)


# --- more damage than is shown


async def test_many_broken_events_hide_no_other_kind_of_damage(
    day: RecordedLife, forger: Forger
) -> None:
    for _ in range(12):
        await day.tick("triage", 10, 10, 10)
    forger.run("UPDATE events SET actor = 'x'")
    forger.run("UPDATE accounts SET settled = settled + 1")
    forger.run("UPDATE breakers SET state = 'half_open'")
    report = await day.audit()
    assert len(report.findings) > FINDINGS_MAX
    assert {finding.kind for finding in report.findings} == {"event", "account", "breaker"}
    assert report.findings_by_kind["event"] == report.events > FINDINGS_MAX
    assert report.findings_by_kind["account"] == report.accounts
    assert report.findings_total == sum(report.findings_by_kind.values())


async def test_damage_of_different_kinds_is_told_in_the_order_of_the_events(
    day: RecordedLife, forger: Forger
) -> None:
    changes = ("payload = '{'", "actor = 'x'", "seq = 'x'", "kind = 'unheard_of'")
    for position, change in zip((5, 8, 11, 14), changes, strict=True):
        forger.run(f"UPDATE events SET {change} WHERE position = ?", position)  # noqa: S608 - a test's own text
    report = await day.audit()
    told = [finding.text for finding in report.findings if finding.kind == "event"]
    wanted = ("its payload can't be read", "not as it was", "at position 11", "is not known")
    places = [next(n for n, text in enumerate(told) if want in text) for want in wanted]
    assert places[0] <= 1, "the first event is the first that is told of"
    assert places[2:] == sorted(places[2:])
    assert places[0] < places[2]
