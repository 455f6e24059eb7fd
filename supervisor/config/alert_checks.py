"""What types alone can't say of [alerts]' values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from supervisor.config.alert_sections import AlertsSection, ChannelSection
from supervisor.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")

Fail = Callable[[str, object, str, str], ConfigError]


def check_alerts(
    alerts: AlertsSection,
    environment: Mapping[str, str],
    fail: Fail,
    check_url: Callable[[str, str], None],
) -> None:
    """Check the channels' addresses and the quiet hours.

    Raises:
        ConfigError: made by `fail` of a key, its value, what is wrong, and the cure.
    """
    hours = alerts.quiet_hours
    if hours and not _HOURS.fullmatch(hours):
        fix = 'write "22:00-07:00"'
        raise fail("alerts.quiet_hours", hours, "is not of the form HH:MM-HH:MM", fix)
    if hours and hours[:5] == hours[6:]:
        fix = 'leave it out, or write "22:00-07:00"'
        raise fail("alerts.quiet_hours", hours, "begins when it ends", fix)
    kinds = [rate.kind for rate in alerts.rate]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise fail("alerts.rate", kind, "is watched twice", "keep one rate for each kind")
    for name, channel in alerts.channel.items():
        key = f"alerts.channel.{name}"
        if not _NAME.fullmatch(name):
            fix = "use letters, digits and . _ -, at most 64"
            raise fail(key, name, "is not a usable name", fix)
        _check_address(key, channel, environment, fail, check_url)


def _check_address(
    key: str,
    channel: ChannelSection,
    environment: Mapping[str, str],
    fail: Fail,
    check_url: Callable[[str, str], None],
) -> None:
    if bool(channel.url) == bool(channel.url_env):
        found = {"url": channel.url and "...", "url_env": channel.url_env}
        fix = "give url, or url_env with the variable that holds it: one of them"
        raise fail(key, found, "has not one address", fix)
    if channel.url_env and not environment.get(channel.url_env):
        what = f"needs ${channel.url_env}, which is not set"
        raise fail(f"{key}.url_env", channel.url_env, what, "set it in the environment")
    if channel.url and channel.kind == "webhook":
        check_url(f"{key}.url", channel.url)
    if channel.url and "://" not in channel.url:
        fix = "see the wiki of apprise for the service's URL"
        raise fail(f"{key}.url", channel.url, "is not a URL", fix)
