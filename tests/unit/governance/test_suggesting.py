"""Limits that observed usage suggests."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.clock import VirtualClock
from supervisor.governance.suggesting import round_up, spread, suggest
from supervisor.governance.token_tracker import TokenBudgetTracker
from supervisor.identity import Identity
from supervisor.storage.database import Database

ANN = Identity(org="acme", user="ann")
BOB = Identity(user="bob")


@pytest.mark.parametrize(
    ("amount", "is_then"), [(0, 1), (1, 1), (99, 99), (100, 100), (101, 110), (12_345, 13_000)]
)
def test_a_suggestion_has_two_digits_and_is_never_below(amount: int, is_then: int) -> None:
    assert round_up(amount) == is_then


def test_a_spread_is_by_nearest_rank_and_counts_what_was_above_its_limit() -> None:
    found = spread([*range(1, 100), 1_000])
    assert (found.samples, found.median, found.p95, found.peak) == (100, 50, 95, 1_000)
    assert (found.limit, found.above, found.is_thin) == (150, 1, False)
    assert spread([7]).is_thin


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_a_suggestion_lets_19_of_20_pass(samples: list[int]) -> None:
    found = spread(samples)
    assert found.median <= found.p95 <= found.peak
    assert found.above * 20 <= len(samples)


async def test_usage_is_shown_by_identity_and_week_and_suggests_a_day(
    store: Database, clock: VirtualClock
) -> None:
    began = clock.now()
    tracker = TokenBudgetTracker(store, clock=clock)
    for day in range(8):
        await tracker.record_usage(ANN, input_tokens=100 + day, cost_usd=0.01, command_id=f"a{day}")
        await tracker.record_usage(BOB, input_tokens=10, command_id=f"b{day}")
        clock.advance(86_400)
    found = await store.read(suggest, began - timedelta(days=1), ZoneInfo("UTC"))
    ann, bob = found.identities
    assert (ann.identity, ann.tokens.samples, ann.tokens.peak) == (ANN, 8, 107)
    assert (ann.tokens.limit, ann.cost.limit) == (160, 15_000)
    assert (bob.identity, bob.tokens.limit, bob.cost.limit) == (BOB, 15, 1)
    weeks = [(one.identity, one.week, one.tokens) for one in found.weeks]
    assert weeks == [
        (BOB, "2026-W24", 10),
        (BOB, "2026-W23", 70),
        (ANN, "2026-W24", 107),
        (ANN, "2026-W23", sum(range(100, 107))),
    ]
    assert found.sessions is None, "reported usage is of no session"


async def test_a_suggestion_for_an_org_has_room_for_its_users(
    store: Database, clock: VirtualClock
) -> None:
    tracker = TokenBudgetTracker(store, clock=clock)
    await tracker.record_usage(Identity(org="acme"), input_tokens=1, command_id="1")
    await tracker.record_usage(ANN, input_tokens=100, command_id="2")
    await tracker.record_usage(BOB, input_tokens=1_000, command_id="3")
    found = await store.read(suggest, clock.now() - timedelta(days=1), ZoneInfo("UTC"))
    peaks = {str(one.identity): one.tokens.peak for one in found.identities}
    assert peaks == {"org:acme": 101, "org:acme,user:ann": 100, "user:bob": 1_000}
