"""From [alerts] of the config to who is told of what."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.alerts.channels import AppriseService, Channel, Webhook
from supervisor.alerts.facts import Severity
from supervisor.alerts.quiet import QuietHours, parse_hours
from supervisor.alerts.rates import RateRule
from supervisor.alerts.record import Route, Terms
from supervisor.alerts.settings import Settings
from supervisor.config import Loaded
from supervisor.config.alert_sections import ChannelSection


def build_settings(loaded: Loaded) -> Settings:
    """Return the config's alerts as the duty has them."""
    section = loaded.config.alerts
    routes = tuple(
        Route(channel=name, least=Severity(channel.least))
        for name, channel in section.channel.items()
    )
    return Settings(
        terms=Terms(routes=routes, remind_after_s=section.remind_after_s, timezone=loaded.timezone),
        approvals_age_s=section.approvals_age_s,
        rates=tuple(
            RateRule(kind=r.kind, window_s=r.window_s, rise=r.rise, at_least=r.at_least)
            for r in section.rate
        ),
        quiet=_quiet(loaded),
    )


def _quiet(loaded: Loaded) -> QuietHours | None:
    section = loaded.config.alerts
    if not section.quiet_hours:
        return None
    start, end = parse_hours(section.quiet_hours)
    least = Severity(section.quiet_least)
    return QuietHours(start=start, end=end, timezone=loaded.timezone, least=least)


def build_channels(loaded: Loaded) -> Mapping[str, Channel]:
    """Return the config's channels by name."""
    return {
        name: _channel(channel, channel.url or loaded.secret(channel.url_env) or "")
        for name, channel in loaded.config.alerts.channel.items()
    }


def _channel(section: ChannelSection, url: str) -> Channel:
    return Webhook(url) if section.kind == "webhook" else AppriseService(url)
