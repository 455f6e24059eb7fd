"""The kinds of events of outside effects, each of which has a key."""

from __future__ import annotations

from supervisor.events.event import Event


class EffectTaken(Event, frozen=True, kw_only=True):
    """The key of an outside effect was taken, before the effect."""

    kind = "effect_taken"
    scope: str
    key: str
    worker: str
    tick: int
    job: str = ""


class EffectDone(Event, frozen=True, kw_only=True):
    """An outside effect was done, and its result is kept."""

    kind = "effect_done"
    scope: str
    key: str


class EffectReleased(Event, frozen=True, kw_only=True):
    """It is known that an outside effect was not done: its key is free again."""

    kind = "effect_released"
    scope: str
    key: str
    why: str = ""


class EffectUnknown(Event, frozen=True, kw_only=True):
    """A key was taken, and nobody knows whether its effect was done: it is not repeated."""

    kind = "effect_unknown"
    scope: str
    key: str
    why: str
    job: str = ""
