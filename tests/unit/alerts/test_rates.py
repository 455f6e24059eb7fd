"""A kind of event that comes much more often than in the window before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from supervisor.alerts.rates import Past, RateRule, Rates
from supervisor.clock import VirtualClock
from supervisor.events import kinds
from supervisor.events.log import Origin, Recorded

RULE = RateRule(kind="worker_crashed", window_s=600, rise=3.0, at_least=6)
NOTHING = Past(parts=())


def crash() -> Recorded:
    origin = Origin(at=datetime(2026, 6, 1, tzinfo=UTC), actor="test")
    event = kinds.WorkerCrashed(worker="a", error="", restart_in_s=1)
    return Recorded(session_id="a@1", seq=1, origin=origin, event=event)


def begun(clock: VirtualClock, rules: Sequence[RateRule], past: Past = NOTHING) -> Rates:
    rates = Rates(lambda: rules, clock)
    assert rates.unknown == list(rules)
    rates.begin(rules, [past for _ in rules])
    assert rates.unknown == []
    return rates


def test_three_times_as_many_as_before_is_told_and_is_over_when_it_is_not_so_any_more(
    clock: VirtualClock,
) -> None:
    rates = begun(clock, [RULE])
    told = []
    # Two in each window of 10 minutes at first, then one a minute for 20 minutes, then none.
    for minute in range(80):
        if minute % 5 == 0 or 40 <= minute < 60:
            rates.follow([crash()])
        clock.advance(60)
        told.append(bool(rates.found()))
    assert not any(told[:44])
    assert any(told[44:52])
    assert not any(told[60:])


def test_a_start_is_no_rise(clock: VirtualClock) -> None:
    rates = begun(clock, [RULE])
    rates.follow([crash() for _ in range(100)])
    clock.advance(60)
    assert rates.found() == []


def test_a_start_after_a_long_life_goes_on_where_that_was(clock: VirtualClock) -> None:
    rates = begun(clock, [RULE], Past(parts=(0,) * 11 + (1,) + (0,) * 10 + (2, 3)))
    assert rates.found() == [], "five are too few"
    rates.follow([crash()])
    assert "6 in the last 600 s, 1 in the window before" in rates.found()[0].what
    clock.advance(601)
    assert rates.found() == []


def test_what_was_counted_of_a_short_life_counts_once_there_is_enough_of_it(
    clock: VirtualClock,
) -> None:
    rates = begun(clock, [RULE], Past(parts=(0,) * 20))
    rates.follow([crash() for _ in range(6)])
    assert rates.found() == []
    clock.advance(4 * 50 + 1)
    assert len(rates.found()) == 1


def test_fewer_than_the_least_are_not_worth_it(clock: VirtualClock) -> None:
    rates = begun(clock, [RULE])
    clock.advance(2 * RULE.window_s)
    rates.follow([crash() for _ in range(5)])
    assert rates.found() == []
    rates.follow([crash()])
    assert [fact.key for fact in rates.found()] == ["now:rate:worker_crashed"]


def test_a_rule_that_is_gone_after_a_reload_tells_nothing(clock: VirtualClock) -> None:
    rules = [RULE]
    rates = begun(clock, rules)
    clock.advance(2 * RULE.window_s)
    rates.follow([crash() for _ in range(10)])
    rules.clear()
    assert rates.found() == []
    rules.append(RULE)
    assert rates.unknown == [RULE], "back again, its past is read again"
