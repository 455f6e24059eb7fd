"""The kinds of events of alerts."""

from __future__ import annotations

from supervisor.events.event import Event


class AlertRaised(Event, frozen=True, kw_only=True):
    """A fact was found that somebody should know; the same fact again raises no other."""

    kind = "alert_raised"
    alert: str
    key: str
    severity: str
    title: str


class AlertResolved(Event, frozen=True, kw_only=True):
    """What an alert tells of is over."""

    kind = "alert_resolved"
    alert: str
    key: str
    why: str


class AlertAcknowledged(Event, frozen=True, kw_only=True):
    """A named actor knows of an alert: there are no more reminders of it."""

    kind = "alert_acknowledged"
    alert: str
    key: str
    why: str
