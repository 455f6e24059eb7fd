"""The kinds of events of incidents."""

from __future__ import annotations

from supervisor.events.event import Event


class IncidentOpened(Event, frozen=True, kw_only=True):
    """A named actor says that something goes wrong that people have to work on."""

    kind = "incident_opened"
    incident: str
    title: str


class IncidentNoted(Event, frozen=True, kw_only=True):
    """Somebody wrote down what was found or done; `alert` and `drill` are what it is about."""

    kind = "incident_noted"
    incident: str
    text: str
    alert: str = ""
    drill: str = ""


class IncidentClosed(Event, frozen=True, kw_only=True):
    """A named actor says that an incident is over, and what it was."""

    kind = "incident_closed"
    incident: str
    why: str
