"""How long to wait before the next try."""

from __future__ import annotations

import random

_EXPONENT_MAX = 30


def delay_s(
    attempt: int, *, first_s: float, max_s: float, factor: float, chance: random.Random
) -> float:
    """Return the seconds to wait after the `attempt`-th failure, counted from 1.

    Exponential, with jitter over the upper half: never less than half of the step, so that a
    crash loop can't turn into a busy loop by luck.
    """
    step_s = min(max_s, first_s * factor ** min(attempt - 1, _EXPONENT_MAX))
    return step_s * chance.uniform(0.5, 1.0)


def full_jitter_s(
    attempt: int, *, first_s: float, max_s: float, factor: float, chance: random.Random
) -> float:
    """Return the seconds to wait after the `attempt`-th failure of one of many, counted from 1.

    Exponential, anywhere between nothing and the step: those that failed together are spread as
    widely as can be (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    return chance.uniform(0.0, min(max_s, first_s * factor ** min(attempt - 1, _EXPONENT_MAX)))
