"""A kind of event that comes much more often than in the window before."""

from __future__ import annotations

from datetime import UTC, datetime

from supervisor.alerts.rates import RateRule, Rates
from supervisor.clock import VirtualClock
from supervisor.events import kinds
from supervisor.events.log import Origin, Recorded

RULE = RateRule(kind="worker_crashed", window_s=600, rise=3.0, at_least=6)


def crash() -> Recorded:
    origin = Origin(at=datetime(2026, 6, 1, tzinfo=UTC), actor="test")
    event = kinds.WorkerCrashed(worker="a", error="", restart_in_s=1)
    return Recorded(session_id="a@1", seq=1, origin=origin, event=event)


def test_three_times_as_many_as_before_is_told_and_is_over_when_it_is_not_so_any_more(
    clock: VirtualClock,
) -> None:
    rates = Rates(lambda: [RULE], clock)
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
    rates = Rates(lambda: [RULE], clock)
    rates.follow([crash() for _ in range(100)])
    clock.advance(60)
    assert rates.found() == []


def test_fewer_than_the_least_are_not_worth_it(clock: VirtualClock) -> None:
    rates = Rates(lambda: [RULE], clock)
    rates.follow([])
    clock.advance(2 * RULE.window_s)
    rates.follow([crash() for _ in range(5)])
    assert rates.found() == []
    rates.follow([crash()])
    assert [fact.key for fact in rates.found()] == ["now:rate:worker_crashed"]


def test_a_rule_that_is_gone_after_a_reload_tells_nothing(clock: VirtualClock) -> None:
    rules = [RULE]
    rates = Rates(lambda: rules, clock)
    rates.follow([])
    clock.advance(2 * RULE.window_s)
    rates.follow([crash() for _ in range(10)])
    rules.clear()
    assert rates.found() == []
