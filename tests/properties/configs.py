"""Configs, amounts and spans that the ledger's machine is tried with."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from tests.properties import known_gaps, wall_clock
from tests.properties.ledger_model import LimitKey, Who

ZONES = [
    zone
    for zone in wall_clock.ZONES
    if known_gaps.PERIODS_BEGIN_AT_THE_FIRST_MIDNIGHT or zone != "America/Havana"
]
DAILY_CAP: LimitKey = ("system", "day", "micro_usd")
ALWAYS: tuple[LimitKey, ...] = (
    DAILY_CAP,
    ("session", "session", "micro_usd"),
    ("session", "session", "actions"),
)
SOMETIMES: tuple[LimitKey, ...] = (
    ("worker:a", "hour", "micro_usd"),
    ("worker:a", "day", "tokens"),
    ("worker:a", "session", "tokens"),
    ("worker:b", "month", "micro_usd"),
    ("model:p/x", "week", "tokens"),
    ("model:p/x", "unlimited", "micro_usd"),
    ("system", "hour", "actions"),
    ("system", "month", "micro_usd"),
    ("org:acme", "day", "micro_usd"),
    ("org:*", "month", "tokens"),
    ("team:red", "unlimited", "tokens"),
    ("user:ann", "hour", "tokens"),
    ("user:*", "week", "micro_usd"),
    ("org:acme,user:*", "session", "actions"),
    ("conversation:*", "unlimited", "micro_usd"),
    ("conversation:c1", "session", "tokens"),
    ("session", "hour", "tokens"),
)
#: org, team, user, conversation; empty where nobody is named.
WHO: tuple[Who, ...] = (
    ("", "", "", ""),
    ("acme", "", "", ""),
    ("acme", "red", "ann", ""),
    ("acme", "", "bob", "c1"),
    ("other", "red", "ann", "c2"),
)

# Small numbers, so that amounts meet limits exactly.
amounts = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 3))
a_limit = st.integers(0, 60) | st.integers(0, 400)
a_config = st.fixed_dictionaries(
    dict.fromkeys(ALWAYS, a_limit), optional=dict.fromkeys(SOMETIMES, a_limit)
)
spans = st.sampled_from([
    timedelta(seconds=1), timedelta(minutes=20), timedelta(hours=1), timedelta(hours=5),
    timedelta(days=1), timedelta(days=6), timedelta(days=31), timedelta(days=365 * 3),
])  # fmt: skip
