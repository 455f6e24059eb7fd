"""The scorecard is the events', of every window, also past damage; on both databases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from supervisor.clock import from_us
from supervisor.events.log import EventRow
from supervisor.governance.figures import Totals
from supervisor.governance.scorecard import By, Card, Scorecards, Wanted, read_scorecards
from supervisor.ledger.periods import Period
from supervisor.storage.database import Transaction
from tests.unit.governance.recorded_life import Damage, RecordedLife

UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
DAY_S = 86_400.0


async def scorecards(
    life: RecordedLife,
    by: By = "day",
    *,
    period: Period = Period.DAY,
    last: int = 100,
    worker: str | None = None,
    timezone: ZoneInfo = UTC_ZONE,
) -> Scorecards:
    wanted = Wanted(by=by, period=period, windows_max=last, worker=worker, timezone=timezone)
    return await life.store.read(read_scorecards, wanted, life.clock.now())


def rows(tx: Transaction) -> list[EventRow]:
    return tx.rows("audit.events", EventRow, after=-1)


async def recomputed(life: RecordedLife) -> Iterator[tuple[str, datetime, str, dict[str, Any]]]:
    """Return each event's session, moment, kind and payload, read without the product's fold."""
    found = await life.store.read(rows)
    return ((row.session_id, from_us(row.at), row.kind, json.loads(row.payload)) for row in found)


def check_against(told: list[tuple[str, dict[str, Any]]], totals: Totals) -> None:
    """Compare a scorecard with what plain counting makes of the same events."""
    kinds = Counter(kind for kind, _ in told)

    def summed(field: str, *of: str) -> int:
        return sum(payload[field] for kind, payload in told if kind in of)

    def counted(field: str, *of: str) -> dict[str, int]:
        return dict(Counter(payload[field] for kind, payload in told if kind in of))

    ticks = counted("outcome", "cycle_completed")
    ticks |= {"skipped": kinds["cycle_skipped"], "recovered": kinds["cycle_recovered"]}
    assert totals.ticks == {name: count for name, count in ticks.items() if count}
    assert totals.refusals == counted("code", "cycle_skipped", "call_refused")
    assert totals.denials == kinds["approval_denied"] + kinds["approval_timed_out"]
    reasons = counted("code", "approval_denied") | {"expired": kinds["approval_timed_out"]}
    assert totals.denials_by_reason == {name: n for name, n in reasons.items() if n}
    assert totals.approvals == kinds["approval_granted"]
    exhaustions = kinds["budget_exhausted"] + kinds["token_budget_exhausted"]
    assert totals.budget_exhaustions == exhaustions
    assert totals.recoveries == kinds["cycle_recovered"]
    assert totals.cost_micro_usd == summed("cost", "hold_settled", "hold_forfeited")
    assert totals.tokens == summed("tokens", "hold_settled", "hold_forfeited")
    ends = {"settled", "forfeited", "released", "reconciled", "placed"}
    holds = {end: kinds[f"hold_{end}"] for end in ends}
    assert totals.holds == {end: count for end, count in holds.items() if count}
    assert totals.lives == kinds["daemon_started"]
    assert totals.kills == kinds["kill_switch_engaged"]
    assert totals.checkpoints == kinds["checkpoint_created"]
    assert totals.events == len(told)


async def test_a_days_scorecard_equals_its_events(day: RecordedLife) -> None:
    told = [(kind, payload) for _, _, kind, payload in await recomputed(day)]
    (card,) = (await scorecards(day)).windows
    assert (card.key, card.is_over) == ("2026-06-01", False)
    assert card.recoveries == 1
    assert card.budget_exhaustions == 2
    assert card.reconciled_usd == -0.0045
    check_against(told, card)


async def test_a_sessions_scorecard_equals_its_events(day: RecordedLife) -> None:
    cards = (await scorecards(day, "session")).windows
    assert len(cards) >= 4
    for card in cards:
        told = [
            (kind, payload)
            for session_id, _, kind, payload in await recomputed(day)
            if session_id == card.key
        ]
        check_against(told, card)


@pytest.mark.parametrize(
    ("period", "keys"),
    [
        (Period.HOUR, ["2026-06-01T10:00+0000", "2026-06-01T11:00+0000", "2026-06-01T12:00+0000"]),
        (Period.WEEK, ["2026-W23"]),
        (Period.MONTH, ["2026-06"]),
    ],
)
async def test_a_horizons_windows_add_up_to_all_events(
    day: RecordedLife, period: Period, keys: list[str]
) -> None:
    told = [(kind, payload) for _, _, kind, payload in await recomputed(day)]
    found = await scorecards(day, "horizon", period=period)
    assert (found.horizon, [card.key for card in found.windows]) == (period, keys)
    assert sum(card.events for card in found.windows) == len(told)
    costs = sum(p["cost"] for kind, p in told if kind in ("hold_settled", "hold_forfeited"))
    assert sum(card.cost_micro_usd for card in found.windows) == costs


async def test_days_are_those_of_the_configs_timezone(life: RecordedLife) -> None:
    await life.start("digest")
    life.clock.advance(11.7 * 3600)  # 22:12 in UTC, past midnight in Berlin
    await life.tick("digest", 1_000)
    cards = (await scorecards(life, timezone=BERLIN)).windows
    assert [(card.key, sum(card.ticks.values())) for card in cards] == [
        ("2026-06-01", 0),
        ("2026-06-02", 1),
    ]
    assert [card.begins_at for card in cards] == ["2026-05-31T22:00:00Z", "2026-06-01T22:00:00Z"]


async def test_of_one_worker_only_its_sessions_count(day: RecordedLife) -> None:
    (card,) = (await scorecards(day, worker="triage")).windows
    told = [
        (kind, payload)
        for session_id, _, kind, payload in await recomputed(day)
        if session_id.startswith("triage@")
    ]
    check_against(told, card)
    sessions = (await scorecards(day, "session", worker="system")).windows
    assert [card.key for card in sessions] == ["system@2026-06-01T00:00Z"]


# --- trends


async def test_a_trend_compares_rates_with_the_day_before(life: RecordedLife) -> None:
    await life.start("digest")
    for _ in range(4):
        await life.tick("digest", 1_000)
    life.clock.advance(DAY_S + 3600)  # 11:30 of the next day: half of it has not been yet
    for _ in range(4):
        await life.tick("digest", 3_000)
    before, now = (await scorecards(life)).windows
    assert before.trend == {}
    trend = now.trend["ticks"]
    assert trend.per_hour_before == round(4 / 24, 6)
    assert trend.per_hour == pytest.approx(4 / 11.5, rel=0.01)
    assert trend.change == pytest.approx(24 / 11.5 - 1, rel=0.01)
    cost = now.trend["cost_micro_usd"].change
    assert cost == pytest.approx(3 * 24 / 11.5 - 1, rel=0.01)


async def test_what_is_new_has_a_rate_and_no_change(life: RecordedLife) -> None:
    await life.start("digest")
    await life.tick("digest")
    life.clock.advance(DAY_S)
    await life.kill("worker:digest")
    await life.begin("digest")
    trend = (await scorecards(life)).windows[-1].trend["refusals"]
    assert trend.per_hour > 0
    assert (trend.per_hour_before, trend.change) == (0, None)


async def test_a_session_is_compared_with_its_workers_last_one(day: RecordedLife) -> None:
    cards = (await scorecards(day, "session", worker="digest")).windows
    assert cards[0].trend == {}
    assert all(card.trend for card in cards[1:])
    newest = (await scorecards(day, "session", worker="digest", last=1)).windows
    assert newest == cards[-1:]


async def test_a_trend_is_there_also_where_only_the_newest_day_is_asked_for(
    life: RecordedLife,
) -> None:
    await life.start("digest")
    for _ in range(3):
        await life.tick("digest", 1_000)
        life.clock.advance(DAY_S)
    await life.tick("digest")
    every = (await scorecards(life)).windows
    assert [card.key for card in every] == [f"2026-06-0{n}" for n in range(1, 5)]
    assert (await scorecards(life, last=2)).windows == every[-2:]
    assert every[-1].trend["cost_micro_usd"].change == -1


# --- limits and damage


async def test_what_happened_under_a_clock_that_was_ahead_is_said(life: RecordedLife) -> None:
    await life.start("digest")
    life.clock.step_wall(3 * DAY_S)
    await life.tick("digest", 1_000)
    life.clock.step_wall(-3 * DAY_S)
    found = await scorecards(life)
    told = list(await recomputed(life))
    assert found.events_ahead > 5
    assert sum(card.events for card in found.windows) + found.events_ahead == len(told)
    life.clock.step_wall(3 * DAY_S)
    found = await scorecards(life)
    assert (found.events_ahead, sum(card.events for card in found.windows)) == (0, len(told))


async def test_that_there_are_older_days_is_said_and_a_quiet_one_is_a_day(
    life: RecordedLife,
) -> None:
    await life.start("digest")
    await life.tick("digest", 1_000)
    life.clock.advance(2 * DAY_S)
    await life.tick("digest", 1_000)
    by_last = {last: await scorecards(life, last=last) for last in (1, 2, 3, 4)}
    assert [found.is_complete for found in by_last.values()] == [False, False, True, True]
    keys = ["2026-06-01", "2026-06-02", "2026-06-03"]
    assert [card.key for card in by_last[4].windows] == keys
    quiet, newest = by_last[2].windows
    assert (quiet.key, quiet.events) == ("2026-06-02", 0)
    assert quiet.trend["ticks"].change == -1
    assert newest == by_last[1].windows[0]


async def test_that_there_are_older_sessions_is_said(day: RecordedLife) -> None:
    count = len((await scorecards(day, "session")).windows)
    assert (await scorecards(day, "session", last=count)).is_complete
    assert not (await scorecards(day, "session", last=count - 1)).is_complete


def figures(card: Card) -> tuple[object, ...]:
    return card.ticks, card.refusals, card.holds, card.cost_micro_usd, card.budget_exhaustions


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("payload = '{\"worker\":'", "its payload can't be read"),
        ("payload = '{}'", "its payload can't be read"),
        ("kind = 'unheard_of'", "kind 'unheard_of' is not known"),
    ],
)
@pytest.mark.parametrize("by", ["day", "session"])
async def test_a_damaged_event_is_located_and_the_rest_is_counted(
    day: RecordedLife, damage: Damage, change: str, what: str, by: By
) -> None:
    whole = await scorecards(day, by)
    session_id, seq = damage.event("checkpoint_created")
    where = "WHERE session_id = ? AND seq = ?"
    assert damage.run(f"UPDATE events SET {change} {where}", session_id, seq) == 1  # noqa: S608 - a test's own text
    found = await scorecards(day, by)
    assert found.damaged_total == sum(card.damaged for card in found.windows) == 1
    (named,) = found.damaged
    assert (named.session_id, named.seq) == (session_id, seq)
    assert what in named.what
    assert [figures(card) for card in found.windows] == [figures(card) for card in whole.windows]
    lost = sum(card.checkpoints for card in whole.windows) - 1
    assert sum(card.checkpoints for card in found.windows) == lost


@pytest.mark.parametrize("by", ["day", "session"])
@pytest.mark.parametrize("change", ["at = x'00'", "at = 'soon'", "payload = x'ff'", "seq = 1.5"])
async def test_a_row_of_a_wrong_type_is_located_and_the_rest_is_counted(
    day: RecordedLife, damage: Damage, change: str, by: By
) -> None:
    whole = await scorecards(day, by)
    session_id, seq = damage.event("checkpoint_created")
    where = "WHERE session_id = ? AND seq = ?"
    assert damage.run(f"UPDATE events SET {change} {where}", session_id, seq) == 1  # noqa: S608 - a test's own text
    found = await scorecards(day, by)
    assert found.damaged_total == 1
    assert "can't be read" in found.damaged[0].what
    assert [figures(card) for card in found.windows] == [figures(card) for card in whole.windows]


async def test_many_damaged_events_are_counted_and_a_hundred_named(
    day: RecordedLife, damage: Damage
) -> None:
    for _ in range(60):
        await day.tick("triage")
    count = damage.run("UPDATE events SET payload = 'x'")
    found = await scorecards(day)
    assert count > 100
    assert (found.damaged_total, len(found.damaged)) == (count, 100)
