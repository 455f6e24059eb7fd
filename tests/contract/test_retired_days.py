"""What retention prunes stays in the scorecard and in the value, to the last figure."""

from __future__ import annotations

import pytest

from supervisor.governance.pruning import Pruned, prune_page
from supervisor.governance.retired_days import retired_since
from supervisor.governance.scorecard import By, Scorecards, Wanted, read_scorecards
from supervisor.governance.value import By as ValueBy
from supervisor.governance.value import Values, WantedValues, read_values
from supervisor.ledger.periods import Period
from tests.contract.retained_life import RetainedLife
from tests.contract.test_retention import _die_after_nothing
from tests.unit.governance.recorded_life import UTC_ZONE


async def scorecards(
    old: RetainedLife, period: Period, *, by: By = "horizon", worker: str | None = None
) -> Scorecards:
    wanted = Wanted(by=by, period=period, windows_max=30, worker=worker, timezone=UTC_ZONE)
    return await old.store.read(read_scorecards, wanted, old.life.clock.now())


async def values(old: RetainedLife, by: ValueBy) -> Values:
    wanted = WantedValues(by=by, periods_max=30, worker=None, timezone=UTC_ZONE)
    return await old.store.read(read_values, wanted, old.life.clock.now())


@pytest.mark.parametrize("period", [Period.DAY, Period.WEEK, Period.MONTH])
async def test_no_figure_of_a_window_changes_when_its_events_are_pruned(
    old: RetainedLife, period: Period
) -> None:
    before = (await scorecards(old, period)).windows
    of_digest = (await scorecards(old, period, worker="digest")).windows
    assert (await old.retain()).exports
    after = (await scorecards(old, period)).windows
    own = after[-1].events - before[-1].events
    assert own >= 1  # the export's own event, and what it opened
    told = [card.headline() | {"holds": card.holds, "ticks": card.ticks} for card in after]
    assert told == [card.headline() | {"holds": card.holds, "ticks": card.ticks} for card in before]
    assert [card.events for card in after[:-1]] == [card.events for card in before[:-1]]
    assert [card.reconciled_usd for card in after] == [card.reconciled_usd for card in before]
    assert (await scorecards(old, period, worker="digest")).windows == of_digest


@pytest.mark.parametrize("by", ["worker", "day", "week", "month"])
async def test_no_value_changes_when_its_events_are_pruned(old: RetainedLife, by: ValueBy) -> None:
    before = await values(old, by)
    assert (await old.retain()).exports
    after = await values(old, by)
    assert (after.values, after.total) == (before.values, before.total)
    assert after.total.cost_micro_usd > 0


async def test_that_sessions_were_pruned_is_said(old: RetainedLife) -> None:
    assert (await scorecards(old, Period.DAY, by="session")).is_complete
    assert (await values(old, "session")).is_complete
    await old.retain()
    assert not (await scorecards(old, Period.DAY, by="session")).is_complete
    assert not (await values(old, "session")).is_complete


async def test_half_pruned_nothing_is_counted_twice(
    old: RetainedLife, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await values(old, "day"), (await scorecards(old, Period.WEEK)).windows[0].headline()
    monkeypatch.setattr("supervisor.governance.pruning.PAGE_ROWS", 7)
    with monkeypatch.context() as dying:
        dying.setattr("supervisor.maintenance.retention.prune_page", _die_after_nothing())
        with pytest.raises(RuntimeError, match="died here"):
            await old.retain()
    is_pruned = False
    while not is_pruned:
        after = await values(old, "day"), (await scorecards(old, Period.WEEK)).windows[0].headline()
        assert (after[0].values, after[1]) == (before[0].values, before[1])
        found = await old.store.write(prune_page, old.life.origin(), checkpoints_kept=3)
        is_pruned = found == Pruned()


async def test_days_that_are_exported_in_parts_add_up(aged: RetainedLife) -> None:
    await aged.days(5)
    before = await values(aged, "day")
    whole = (await scorecards(aged, Period.DAY)).windows
    for _ in range(3):
        await aged.retain(keep_days=3)
        await aged.retain(keep_days=2)
    after = await values(aged, "day")
    assert after.values == before.values
    told = (await scorecards(aged, Period.DAY)).windows
    assert [card.headline() for card in told] == [card.headline() for card in whole]


async def test_a_day_is_kept_once_for_each_worker(old: RetainedLife) -> None:
    await old.retain()
    kept = await old.store.read(lambda tx: list(retired_since(tx, 0)))
    assert len({(day.day_at, day.worker) for day in kept}) == len(kept) > 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE retired_days SET figures = '{\"events\":1}' WHERE worker = 'digest'",
        "UPDATE retired_days SET day_at = day_at + 1 WHERE worker = 'digest'",
        "DELETE FROM retired_days WHERE worker = 'digest'",
    ],
)
async def test_the_audit_finds_a_figure_that_is_not_as_it_was_kept(
    old: RetainedLife, change: str
) -> None:
    await old.retain()
    assert (await old.life.audit()).findings == ()
    assert old.raw.run(change) > 0
    found = (await old.life.audit()).findings
    assert "what it has left is not as it was sealed" in found[0].what
