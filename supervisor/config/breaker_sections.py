"""What [breakers] may hold."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from supervisor.config.bounds import Count, Seconds, Section


class BreakersSection(Section, frozen=True, kw_only=True):
    """[breakers]: when they open, and for how long; a number of 0 turns its rule off."""

    failures_max: Count = 5
    provider_failures_max: Count = 5
    system_failures_max: Count = 20
    repeats_max: Count = 3
    rate_multiple: Annotated[float, Meta(ge=0, le=1e6)] = 6.0
    rate_window_s: Seconds = 300.0
    open_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.95
    cooldown_s: Seconds = 300.0
    cooldown_max_s: Seconds = 3_600.0
