"""Horizon profiles: what [session] and the workers' schedules are where a config leaves it out."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

#: A worker that has one of these keys has said itself when it ticks.
_SCHEDULES = ("every_s", "cron", "queue")


class Horizon(msgspec.Struct, frozen=True, kw_only=True):
    """One horizon's profile: its length and the interval of cycles in s, the rest as [session]."""

    length_s: float
    window: str
    checkpoint_every: int
    max_cost_usd: float
    max_actions: int
    every_s: float

    @property
    def cycles(self) -> int:
        """How many cycles fill the horizon."""
        return round(self.length_s / self.every_s)


#: Requirement D13, and the continuous-operation playbook's example for budgets and intervals. It
#: rotates a day's session every 24 cycles of half an hour, and its text says every 1 to 4 hours:
#: that is what counts here.
HORIZONS: Mapping[str, Horizon] = {
    "hour": Horizon(
        length_s=3_600.0,
        window="hourly",
        checkpoint_every=6,
        max_cost_usd=15.0,
        max_actions=30,
        every_s=300.0,
    ),
    "day": Horizon(
        length_s=86_400.0,
        window="4h",
        checkpoint_every=12,
        max_cost_usd=40.0,
        max_actions=96,
        every_s=1_800.0,
    ),
    "week": Horizon(
        length_s=7 * 86_400.0,
        window="daily",
        checkpoint_every=24,
        max_cost_usd=150.0,
        max_actions=480,
        every_s=3_600.0,
    ),
    "month": Horizon(
        length_s=30 * 86_400.0,
        window="daily",
        checkpoint_every=24,
        max_cost_usd=500.0,
        max_actions=2_000,
        every_s=3_600.0,
    ),
}


def with_horizon(raw: Mapping[str, object]) -> Mapping[str, object]:
    """Return the file's tables with its horizon's values where they say nothing.

    What is not of the form is left as it is: the conversion that follows says what is wrong.
    """
    session = raw.get("session")
    profile = HORIZONS.get(str(session.get("horizon"))) if isinstance(session, dict) else None
    if profile is None or not isinstance(session, dict):
        return raw
    preset = {
        "window": profile.window,
        "checkpoint_every": profile.checkpoint_every,
        "max_cost_usd": profile.max_cost_usd,
        "max_actions": profile.max_actions,
    }
    filled: dict[str, object] = {**raw, "session": {**preset, **session}}
    workers = raw.get("worker")
    if isinstance(workers, dict):
        filled["worker"] = {name: _scheduled(one, profile) for name, one in workers.items()}
    return filled


def _scheduled(worker: object, profile: Horizon) -> object:
    if not isinstance(worker, dict) or any(key in worker for key in _SCHEDULES):
        return worker
    return {**worker, "every_s": profile.every_s}
