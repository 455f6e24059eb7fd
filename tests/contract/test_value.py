"""What workers were worth follows from the events, exactly, on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import Context, InputRefused, Outcome
from supervisor.clock import VirtualClock
from supervisor.config.bounds import HOURS_MAX, RATE_USD_MAX
from supervisor.events.log import Origin
from supervisor.governance.audit import audit
from supervisor.governance.reconciliation import ReconcileCommand, reconcile_hold
from supervisor.governance.value import By, Value, Values, WantedValues, read_values
from supervisor.governance.worth import ValueRule, micro_hours, worth
from supervisor.money import limit_micro_usd
from supervisor.storage.database import Database
from supervisor.worker.plan import WorkerFunction
from supervisor.worker.tick import WorkerCrashed, run_tick
from tests.databases import RawConnection
from tests.unit.worker.conftest import UTC_ZONE, Bench

#: 60 USD for an hour: a micro-hour is worth 60 micro-USD.
RATE = 60_000_000
RULE = ValueRule(micro_hours=0, rate=RATE)


class Desk(Bench):
    """Workers that save hours and spend money."""

    async def tick(
        self, work: WorkerFunction, *, rule: ValueRule = RULE, worker: str = "w"
    ) -> Outcome:
        self.clock.advance(1)
        plan = replace(await self.plan(work, name=worker), value=rule)
        return (await run_tick(self.kernel, plan)).outcome

    async def saves(self, *hours: float, usd: float = 0.0, worker: str = "w") -> None:
        """Let a tick say what it has saved, and spend something."""

        async def work(ctx: Context) -> None:
            for one in hours:
                ctx.saved(one, f"{one} hours")
            if usd:
                async with ctx.spend(usd_max=usd, what="a call"):
                    pass

        assert await self.tick(work, worker=worker) is Outcome.OK

    async def values(
        self, by: By = "month", *, last: int = 10, worker: str | None = None
    ) -> Values:
        wanted = WantedValues(by=by, periods_max=last, worker=worker, timezone=UTC_ZONE)
        return await self.store.read(read_values, wanted, self.clock.now())

    async def reported(self) -> list[dict[str, object]]:
        return await self.events("value_reported")


@pytest.fixture
def desk(database: Database, clock: VirtualClock, tmp_path: Path) -> Desk:
    return Desk(database, clock, tmp_path)


def told(values: Sequence[Value]) -> list[tuple[str, str, int, int, int]]:
    return [
        (one.key, one.worker, one.worth_micro_usd, one.cost_micro_usd, one.value_micro_usd)
        for one in values
    ]


async def test_a_value_is_hours_at_the_rate_less_cost_by_worker_and_month(desk: Desk) -> None:
    await desk.saves(0.25, 0.5, usd=0.10)
    await desk.saves(0.1, worker="v")
    desk.clock.advance(timedelta(days=30).total_seconds())
    await desk.saves(1 / 3, usd=0.5)
    values = await desk.values()
    third = 333_333 * 60
    assert told(values.values) == [
        ("2026-06", "v", 6_000_000, 0, 6_000_000),
        ("2026-06", "w", 45_000_000, 100_000, 44_900_000),
        ("2026-07", "w", third, 500_000, third - 500_000),
    ]
    assert values.total.value_micro_usd == 6_000_000 + 44_900_000 + third - 500_000
    assert values.values[1].hours_saved == 0.75
    assert (await desk.store.read(audit)).is_clean


async def test_the_record_says_the_hours_the_rate_and_what_was_saved(desk: Desk) -> None:
    await desk.saves(0.25, 0.5)
    assert await desk.reported() == [
        {
            "kind": "value_reported",
            "worker": "w",
            "tick": 1,
            "micro_hours": 750_000,
            "rate": RATE,
            "worth": 45_000_000,
            "what": "0.25 hours; 0.5 hours",
        }
    ]


@pytest.mark.parametrize(
    ("outcome", "hours"),
    [
        (None, 100_000),
        (Outcome.NOOP, 0),
        (Outcome.FAILED, 0),
        (Outcome.UNKNOWN, 0),
    ],
)
async def test_the_configs_hours_are_those_of_an_ok_tick_that_says_nothing(
    desk: Desk, outcome: Outcome | None, hours: int
) -> None:
    async def work(_: Context) -> Outcome | None:
        return outcome

    await desk.tick(work, rule=ValueRule(micro_hours=100_000, rate=RATE))
    reported = await desk.reported()
    assert sum(int(str(one["micro_hours"])) for one in reported) == hours
    assert all(one["is_preset"] for one in reported)


@pytest.mark.parametrize("said", [0.0, 0.5])
async def test_what_a_worker_says_stands_in_place_of_the_config(desk: Desk, said: float) -> None:
    async def work(ctx: Context) -> None:
        ctx.saved(said)

    await desk.tick(work, rule=ValueRule(micro_hours=100_000, rate=RATE))
    hours = [one["micro_hours"] for one in await desk.reported()]
    assert hours == ([500_000] if said else [])


async def test_a_tick_that_failed_or_crashed_has_saved_nothing(desk: Desk) -> None:
    async def fails(ctx: Context) -> Outcome:
        ctx.saved(5)
        return Outcome.FAILED

    async def crashes(ctx: Context) -> None:
        ctx.saved(5)
        raise ValueError("no")

    await desk.tick(fails)
    with pytest.raises(WorkerCrashed):
        await desk.tick(crashes)
    assert await desk.reported() == []
    assert (await desk.values()).values == ()


async def test_a_rate_that_changes_does_not_change_what_was(desk: Desk) -> None:
    await desk.saves(1)
    before = (await desk.values()).values

    async def work(ctx: Context) -> None:
        ctx.saved(1)

    await desk.tick(work, rule=ValueRule(rate=RATE * 2))
    (after,) = (await desk.values()).values
    assert after.worth_micro_usd == before[0].worth_micro_usd + 2 * RATE


async def test_hours_without_a_rate_are_counted_and_named(desk: Desk) -> None:
    async def work(ctx: Context) -> None:
        ctx.saved(2)

    await desk.tick(work, rule=ValueRule())
    total = (await desk.values()).total
    assert (total.hours_saved, total.worth_micro_usd, total.unrated_micro_hours) == (
        2,
        0,
        2_000_000,
    )


async def test_a_correction_of_a_call_is_its_workers_cost(desk: Desk, raw: RawConnection) -> None:
    async def work(ctx: Context) -> None:
        async with ctx.spend(usd_max=0.5, what="a call"):
            raise InputRefused(subject="s", what="w", fix="f")

    await desk.tick(work, worker="v")
    ((hold_id,),) = raw.rows("SELECT id FROM holds")
    (lost,) = (await desk.values()).values
    assert (lost.worker, lost.cost_micro_usd) == ("v", 500_000)
    origin = Origin(at=desk.clock.now(), actor="t", command_id="c")
    command = ReconcileCommand(hold_id=str(hold_id), cost=20_000)
    await desk.store.write(reconcile_hold, command, origin, UTC_ZONE)
    for by in ("month", "worker", "session", "day", "week"):
        (value,) = (await desk.values(by)).values
        assert (value.worker, value.cost_micro_usd) == ("v", 20_000), by


async def test_periods_sessions_and_workers_add_up_to_the_same(desk: Desk) -> None:
    for hours in range(5):
        await desk.saves(hours / 10, usd=0.01, worker=f"w{hours % 2}")
        desk.clock.advance(timedelta(hours=9).total_seconds())
    totals = {by: (await desk.values(by)).total for by in ("worker", "session", "day", "week")}
    assert len(set(map(str, totals.values()))) == 1
    assert totals["day"].micro_hours == 1_000_000
    sessions = await desk.values("session", last=3)
    assert (len(sessions.values), sessions.is_complete) == (3, False)
    assert [one.worker for one in (await desk.values("worker")).values] == ["w0", "w1"]
    only = await desk.values("day", worker="w1")
    assert {one.worker for one in only.values} == {"w1"}


async def test_a_damaged_event_is_named_and_the_rest_summed_up(
    desk: Desk, raw: RawConnection
) -> None:
    await desk.saves(1)
    await desk.saves(2)
    raw.drop_rules()
    session_id, seq = raw.event("value_reported")
    raw.run("UPDATE events SET payload = '{' WHERE session_id = ? AND seq = ?", session_id, seq)
    values = await desk.values()
    assert values.total.hours_saved == 2
    (damaged,) = values.damaged
    assert (damaged.session_id, damaged.seq) == (session_id, seq)


@pytest.mark.parametrize("hours", [-1.0, float("nan"), float("inf"), HOURS_MAX * 2])
async def test_what_is_no_number_of_hours_is_refused(desk: Desk, hours: float) -> None:
    async def work(ctx: Context) -> None:
        with pytest.raises(InputRefused, match="is no number of hours"):
            ctx.saved(hours)

    assert await desk.tick(work) is Outcome.OK
    assert await desk.reported() == []


hours_said = st.floats(min_value=0, max_value=HOURS_MAX)
rates = st.floats(min_value=0, max_value=RATE_USD_MAX)


@given(hours_said, rates)
def test_a_worth_is_never_overstated_and_short_by_less_than_its_last_digits(
    hours: float, rate_usd: float
) -> None:
    rate = limit_micro_usd(rate_usd)
    told_hours = micro_hours(hours)
    exact = Fraction(str(hours)) * Fraction(str(rate_usd)) * 10**6
    found = worth(told_hours, rate)
    assert found <= exact
    # A micro-hour's worth, a micro-USD an hour's, and one that is rounded away at the end.
    assert exact - found <= Fraction(rate, 10**6) + Fraction(str(hours)) + 2
    assert found < 2**63
