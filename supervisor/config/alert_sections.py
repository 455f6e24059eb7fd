"""What [alerts] may hold: who is told of what, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from supervisor.config.bounds import Positive, Seconds, Section

SeverityWord = Literal["info", "warning", "critical"]


class ChannelSection(Section, frozen=True, kw_only=True):
    """[alerts.channel.NAME]: one place where somebody reads; its URL, or the variable with it."""

    kind: Literal["webhook", "apprise"]
    url: str = ""
    url_env: str = ""
    least: SeverityWord = "warning"


class RateSection(Section, frozen=True, kw_only=True):
    """[[alerts.rate]]: a kind of event that is told where it comes much more often than before."""

    kind: str
    window_s: Seconds = 3_600.0
    rise: Annotated[float, Meta(gt=1, le=1e6)] = 3.0
    at_least: Positive = 10


class ReportSection(Section, frozen=True, kw_only=True):
    """[report]: when the morning report is written, a cron expression in [supervisor] timezone."""

    at: str = ""


class AlertsSection(Section, frozen=True, kw_only=True):
    """[alerts]: spans in seconds; quiet hours are of [supervisor] timezone."""

    remind_after_s: Seconds = 14_400.0
    quiet_hours: str = ""
    quiet_least: SeverityWord = "critical"
    approvals_age_s: Seconds = 1_800.0
    channel: Mapping[str, ChannelSection] = {}
    rate: tuple[RateSection, ...] = ()
