"""Waits between tries grow, stay bounded, and are never nearly none."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from supervisor.backoff import delay_s

attempts = st.integers(1, 10**6)
seeds = st.integers()


def delay(attempt: int, seed: int, *, first_s: float = 0.01, max_s: float = 300.0) -> float:
    chance = random.Random(seed)  # noqa: S311 - jitter
    return delay_s(attempt, first_s=first_s, max_s=max_s, factor=4.0, chance=chance)


@given(attempt=attempts, seed=seeds)
def test_a_wait_is_between_half_of_its_step_and_the_whole(attempt: int, seed: int) -> None:
    step_s = min(300.0, 0.01 * 4.0 ** min(attempt - 1, 30))
    assert step_s / 2 <= delay(attempt, seed) <= step_s


@given(attempt=attempts, seed=seeds, max_s=st.floats(0.001, 1e6))
def test_no_wait_is_above_the_bound(attempt: int, seed: int, max_s: float) -> None:
    assert delay(attempt, seed, max_s=max_s) <= max_s


@given(seed=seeds)
def test_steps_multiply_until_the_bound(seed: int) -> None:
    waits = [delay(attempt, seed) for attempt in range(1, 9)]
    ratios = [later / earlier for earlier, later in pairwise(waits)]
    assert all(abs(ratio - 4.0) < 1e-9 for ratio in ratios[:6])
    assert waits[-1] <= 300.0


def test_two_that_failed_together_do_not_try_again_together() -> None:
    assert len({delay(3, seed) for seed in range(100)}) == 100


def test_the_first_wait_is_short() -> None:
    assert delay(1, 1) <= 0.01
