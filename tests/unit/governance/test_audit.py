"""The audit proves a sound store, and names the first row of a damaged one that differs."""

from __future__ import annotations

import pytest

from supervisor.governance.audit import Finding
from supervisor.governance.audit_findings import FINDINGS_MAX
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.periods import Period
from tests.unit.governance.recorded_life import UTC_ZONE, Damage, RecordedLife

EDIT = "UPDATE events SET payload = replace(payload, ?, ?) WHERE session_id = ? AND seq = ?"


async def first(day: RecordedLife) -> Finding:
    """Return the first finding of a store that has one."""
    report = await day.audit()
    assert report.findings_total >= 1
    assert not report.is_clean
    return report.findings[0]


async def texts(day: RecordedLife) -> str:
    return "\n".join(finding.text for finding in (await day.audit()).findings)


async def test_store_of_a_day_is_sound(day: RecordedLife) -> None:
    report = await day.audit()
    assert report.findings == ()
    assert report.is_clean
    assert (report.ticks, report.holds) == (9, 9)
    assert report.events > 40
    assert report.sessions >= 5
    assert report.accounts >= 8


async def test_store_without_an_event_is_sound(life: RecordedLife) -> None:
    report = await life.audit()
    assert (report.events, report.sessions, report.findings_total) == (0, 0, 0)


async def test_edited_amount_is_named_with_its_event(day: RecordedLife, damage: Damage) -> None:
    session_id, seq = damage.event("hold_settled")
    assert damage.run(EDIT, '"cost":1000', '"cost":1', session_id, seq) == 1
    finding = await first(day)
    assert (finding.session_id, finding.seq) == (session_id, seq)
    assert "not as it was written" in finding.what
    told = await texts(day)
    assert "cost_settled 1000, its events 1" in told
    assert "account system/day/2026-06-01/micro_usd" in told


@pytest.mark.parametrize(
    "column", ["at = at + 1", "actor = 'x'", "correlation_id = 'x'", "command_id = 'x'"]
)
async def test_every_column_is_bound_by_the_chain(
    day: RecordedLife, damage: Damage, column: str
) -> None:
    session_id, seq = damage.event("cycle_started", number=1)
    damage.run(f"UPDATE events SET {column} WHERE session_id = ? AND seq = ?", session_id, seq)  # noqa: S608 - a test's own text
    report = await day.audit()
    assert report.findings_total == 1
    assert (report.findings[0].session_id, report.findings[0].seq) == (session_id, seq)


async def test_deleted_event_is_named_by_its_number(day: RecordedLife, damage: Damage) -> None:
    session_id, seq = damage.event("hold_placed", number=1)
    damage.run("DELETE FROM events WHERE session_id = ? AND seq = ?", session_id, seq)
    finding = await first(day)
    assert (finding.session_id, finding.seq) == (session_id, seq + 1)
    assert finding.what == f"number {seq} missing before it"
    assert "is settled without being open" in await texts(day)


async def test_deleted_tail_is_seen_by_the_session_row(day: RecordedLife, damage: Damage) -> None:
    session_id, seq = damage.event("hold_placed", number=-1)
    damage.run("DELETE FROM events WHERE session_id = ? AND seq = ?", session_id, seq)
    finding = await first(day)
    assert finding.subject == f"session {session_id}"
    assert finding.what.endswith(f"its row says {seq}")
    assert "has a row, but no event has placed it" in await texts(day)


async def test_deleted_end_of_a_sealed_session_is_seen(day: RecordedLife, damage: Damage) -> None:
    session_id, seq = damage.event("session_closed")
    damage.run("DELETE FROM events WHERE session_id = ? AND seq = ?", session_id, seq)
    finding = await first(day)
    assert finding.subject == f"session {session_id}"
    assert f"ends at event {seq - 1}, its row says {seq}" in finding.what


async def test_swapped_pair_is_out_of_order(day: RecordedLife, damage: Damage) -> None:
    session_id, seq = damage.event("cycle_started", number=1)
    place = "SELECT position FROM events WHERE session_id = ? AND seq = ?"
    ((one,),) = damage.rows(place, session_id, seq)
    ((two,),) = damage.rows(place, session_id, seq + 1)
    move = "UPDATE events SET position = ? WHERE position = ?"
    damage.run(move, -1, one)
    damage.run(move, one, two)
    damage.run(move, two, -1)
    finding = await first(day)
    assert (finding.session_id, finding.seq) == (session_id, seq + 1)
    assert finding.what == f"number {seq} missing before it"
    assert f"event {seq}: stands behind number {seq + 1}: out of order" in await texts(day)


async def test_pair_with_swapped_contents_is_not_as_written(
    day: RecordedLife, damage: Damage
) -> None:
    session_id, seq = damage.event("hold_placed")
    columns = "kind, payload, command_id, correlation_id, at, actor, state_bearing, hash"
    rows = damage.rows(
        f"SELECT {columns} FROM events WHERE session_id = ? AND seq IN (?, ?) ORDER BY seq",  # noqa: S608 - a test's own text
        session_id,
        seq,
        seq + 1,
    )
    for number, row in zip((seq + 1, seq), rows, strict=True):
        damage.run(
            "UPDATE events SET kind = ?, payload = ?, command_id = ?, correlation_id = ?, at = ?,"
            " actor = ?, state_bearing = ?, hash = ? WHERE session_id = ? AND seq = ?",
            *row,
            session_id,
            number,
        )
    finding = await first(day)
    assert (finding.session_id, finding.seq) == (session_id, seq)


async def test_edited_hash_of_a_session_row_is_named(day: RecordedLife, damage: Damage) -> None:
    damage.run("UPDATE sessions SET last_hash = x'00' WHERE worker = 'digest' AND summary IS NULL")
    report = await day.audit()
    assert report.findings_total == 1
    assert "its row's hash is not that of its last event" in report.findings[0].what


async def test_event_behind_a_seal_is_found(day: RecordedLife, damage: Damage) -> None:
    session_id, seq = damage.event("session_closed")
    damage.run(
        "INSERT INTO events SELECT 1 + (SELECT max(position) FROM events), session_id, seq + 1, at,"
        " 'loop_blocked', actor, '', '', 0, '{\"lag_s\":1}', hash FROM events"
        " WHERE session_id = ? AND seq = ?",
        session_id,
        seq,
    )
    report = await day.audit()
    assert [finding.what for finding in report.findings] == ["stands behind its session's seal"]


async def test_events_of_a_session_without_a_row_are_found(
    day: RecordedLife, damage: Damage
) -> None:
    session_id, _ = damage.event("session_closed")
    damage.run("DELETE FROM sessions WHERE id = ?", session_id)
    finding = await first(day)
    assert finding.text == f"session {session_id}: has events but no row (session {session_id})"


async def test_session_without_events_is_found(day: RecordedLife, damage: Damage) -> None:
    damage.run("DELETE FROM events WHERE session_id LIKE 'triage@%'")
    assert "session triage@2026-06-01T10:00Z: has no event" in await texts(day)


async def test_balance_changed_by_hand_is_named(day: RecordedLife, damage: Damage) -> None:
    account = "system/day/2026-06-01/micro_usd"
    ((settled,),) = damage.rows("SELECT settled FROM accounts WHERE id = ?", account)
    damage.run("UPDATE accounts SET settled = settled - 1000 WHERE id = ?", account)
    report = await day.audit()
    assert report.findings_total == 1
    assert report.findings[0].subject == f"account {account}"
    assert isinstance(settled, int)
    assert report.findings[0].what == f"its row says settled {settled - 1000}, its events {settled}"


@pytest.mark.parametrize("column", ["held", "limit_amount", "overrun"])
async def test_every_amount_of_an_account_follows_from_events(
    day: RecordedLife, damage: Damage, column: str
) -> None:
    account = "system/day/2026-06-01/micro_usd"
    damage.run(f"UPDATE accounts SET {column} = {column} + 7 WHERE id = ?", account)  # noqa: S608 - a test's own text
    report = await day.audit()
    assert report.findings_total == 1
    assert f"its row says {column}" in report.findings[0].what


async def test_account_above_its_limit_is_found_where_its_events_agree(
    day: RecordedLife, damage: Damage
) -> None:
    account = "worker:digest/hour/2026-06-01T10:00Z/tokens"
    damage.run("UPDATE accounts SET limit_amount = 1 WHERE id = ?", account)
    edit = "UPDATE events SET payload = replace(payload, ?, ?) WHERE kind = 'account_opened'"
    damage.run(f"{edit} AND payload LIKE '%T10:00Z/tokens%'", '":100000', '":1')
    assert "settled and held, its limit and overrun allow 1" in await texts(day)


async def test_overrun_stays_at_its_highest(life: RecordedLife) -> None:
    cap = Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=1_000)
    life.budgets = Budgets([cap], timezone=UTC_ZONE, warn_ratio=0.8)
    await life.start("digest")
    started = await life.started("digest")
    holds = [await life.placed("digest", started, cost) for cost in (400, 400, 100)]
    for hold, cost in zip(holds, (900, 0, 150), strict=True):
        await life.settle(hold, cost)
    await life.finish("digest", started)
    report = await life.audit()
    assert report.is_clean, report.findings


async def test_account_that_no_event_opened_is_found(day: RecordedLife, damage: Damage) -> None:
    damage.run(
        "INSERT INTO accounts (id, scope, period, period_key, unit, limit_amount, settled, held,"
        " opened_at) VALUES ('x/y/z/tokens', 'x', 'day', 'z', 'tokens', 1, 0, 0, 0)"
    )
    finding = await first(day)
    assert finding.text == "account x/y/z/tokens: has a row, but no event has opened it"


async def test_account_whose_row_is_gone_is_found(day: RecordedLife, damage: Damage) -> None:
    damage.run("DELETE FROM accounts WHERE id = 'worker:digest/hour/2026-06-01T10:00Z/tokens'")
    finding = await first(day)
    assert finding.what == "has an event but no row"


async def test_edited_counters_are_named(day: RecordedLife, damage: Damage) -> None:
    damage.run(
        "UPDATE sessions SET counters = replace(counters, '\"ok\":1', '\"ok\":2')"
        " WHERE worker = 'triage' AND status = 'active'"
    )
    report = await day.audit()
    assert report.findings_total == 1
    assert "its counters says ticks {'ok': 2}" in report.findings[0].what


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ('"failed":1', '"failed":0', "ticks"),
        ('"first_seq":1', '"first_seq":2', "first_seq"),
        ('"last_hash":"', '"last_hash":"0', "last_hash"),
    ],
)
async def test_edited_summary_is_named(
    day: RecordedLife, damage: Damage, before: str, after: str, field: str
) -> None:
    session_id, _ = damage.event("session_closed")
    change = "UPDATE sessions SET summary = replace(summary, ?, ?) WHERE id = ?"
    assert damage.run(change, before, after, session_id) == 1
    report = await day.audit()
    assert report.findings_total == 1
    assert report.findings[0].subject == f"session {session_id}"
    assert f"its summary says {field}" in report.findings[0].what


async def test_summary_that_is_no_json_is_named(day: RecordedLife, damage: Damage) -> None:
    session_id, _ = damage.event("session_closed")
    damage.run("UPDATE sessions SET summary = '{' WHERE id = ?", session_id)
    assert "its summary: can't be read" in (await first(day)).what


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("cost_settled = 1", "cost_settled"),
        ("tokens_settled = 1", "tokens_settled"),
        ("cost_held = 1", "cost_held"),
        ("status = 'released'", "status"),
        ("model = 'other/model'", "model"),
        ("account_ids = 'system/day/2026-06-01/micro_usd'", "account_ids"),
    ],
)
async def test_edited_hold_is_named(
    day: RecordedLife, damage: Damage, change: str, what: str
) -> None:
    assert damage.run(f"UPDATE holds SET {change} WHERE id = 'digest#1/1'") == 1  # noqa: S608 - a test's own text
    report = await day.audit()
    assert report.findings_total == 1
    assert report.findings[0].subject == "hold digest#1/1"
    assert f"its row says {what}" in report.findings[0].what


async def test_hold_that_was_reconciled_by_hand_is_found(day: RecordedLife, damage: Damage) -> None:
    ((hold,),) = damage.rows("SELECT id FROM holds WHERE why = 'the tick failed'")
    damage.run("UPDATE holds SET status = 'settled', cost_settled = 0 WHERE id = ?", hold)
    finding = await first(day)
    assert finding.text == f"hold {hold}: its row says status settled, its events forfeited"


async def test_hold_whose_row_is_gone_is_found(day: RecordedLife, damage: Damage) -> None:
    damage.run("DELETE FROM holds WHERE id = 'digest#1/1'")
    finding = await first(day)
    assert (finding.subject, finding.what) == ("hold digest#1/1", "has an event but no row")


async def test_hold_that_no_event_placed_is_found(day: RecordedLife, damage: Damage) -> None:
    damage.run(
        "INSERT INTO holds SELECT 'stray', boot_id, worker, session_id, tick, model, what,"
        " account_ids, placed_at, cost_held, tokens_held, actions_held, status, ended_at,"
        " cost_settled, tokens_settled, actions_settled, why, org, team, user_id,"
        " conversation FROM holds WHERE id = 'digest#1/1'"
    )
    finding = await first(day)
    assert finding.text == "hold stray: has a row, but no event has placed it"


async def test_hold_that_outlives_its_tick_is_found(day: RecordedLife, damage: Damage) -> None:
    damage.run(
        "UPDATE ticks SET outcome = 'ok', ended_at = 1 WHERE worker = 'digest' AND outcome IS NULL"
    )
    told = await texts(day)
    assert "is open, but tick 6 of digest has ended" in told
    assert "tick 6 of digest: its row says ok, no event says that it ended" in told


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("payload = '{\"worker\":'", "its payload can't be read"),
        ("kind = 'never_heard_of'", "kind 'never_heard_of' is not known"),
        ("payload = x'ff00'", "can't be read"),
        ("payload = CAST(x'22ff22' AS TEXT)", "can't be read"),
        ("state_bearing = 'yes'", "can't be read"),
    ],
)
async def test_damaged_event_is_a_finding_and_the_reading_goes_on(
    day: RecordedLife, damage: Damage, change: str, what: str
) -> None:
    whole = await day.audit()
    session_id, seq = damage.event("checkpoint_created")
    damage.run(f"UPDATE events SET {change} WHERE session_id = ? AND seq = ?", session_id, seq)  # noqa: S608 - a test's own text
    report = await day.audit()
    assert what in report.findings[0].what
    assert report.events >= whole.events - 1
    assert (report.holds, report.accounts) == (whole.holds, whole.accounts)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE accounts SET settled = 'much' WHERE id LIKE 'system/%'", "account system/day"),
        ("UPDATE holds SET status = 'lost' WHERE id = 'digest#1/1'", "hold digest#1/1"),
        ("UPDATE ticks SET session_id = x'ff' WHERE worker = 'digest' AND number = 1", "tick 1"),
        ("UPDATE sessions SET last_hash = NULL WHERE worker = 'triage'", "session triage@"),
        ("UPDATE sessions SET counters = 'x' WHERE worker = 'triage'", "session triage@"),
    ],
)
async def test_damaged_row_is_a_finding_and_the_reading_goes_on(
    day: RecordedLife, damage: Damage, change: str, what: str
) -> None:
    whole = await day.audit()
    damage.run("PRAGMA writable_schema = ON")
    damage.run(
        "UPDATE sqlite_master SET sql = replace(sql, 'last_hash BLOB NOT NULL', 'last_hash')"
    )
    damage.run("PRAGMA writable_schema = RESET")
    assert damage.run(change) >= 1
    report = await day.audit()
    assert what in report.findings[0].subject
    assert "can't be read" in report.findings[0].what
    assert report.events == whole.events


async def test_findings_are_bounded_and_all_counted(day: RecordedLife, damage: Damage) -> None:
    for number in range(FINDINGS_MAX + 50):
        damage.run(
            "INSERT INTO accounts (id, scope, period, period_key, unit, limit_amount, settled,"
            " held, opened_at) VALUES (?, 'x', 'day', ?, 'tokens', 1, 0, 0, 0)",
            f"x/{number}/tokens",
            str(number),
        )
    report = await day.audit()
    assert len(report.findings) == FINDINGS_MAX
    assert report.findings_total == FINDINGS_MAX + 50


async def test_overrun_and_lowered_limit_are_sound(day: RecordedLife, damage: Damage) -> None:
    kinds = {kind for (kind,) in damage.rows("SELECT DISTINCT kind FROM events")}
    wanted = {"account_overrun", "account_limit_changed", "hold_reconciled", "cycle_recovered"}
    assert wanted <= kinds
    assert (await day.audit()).is_clean
