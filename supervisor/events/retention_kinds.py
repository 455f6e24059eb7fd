"""The kind of event that tells of windows that were exported."""

from __future__ import annotations

from supervisor.events.event import Event


class WindowsRetired(Event, frozen=True, kw_only=True):
    """Closed windows were exported to a durable file, proved, and are pruned from here on.

    `sha256` is the file's, `sums_sha256` the seal of the sums that stay of them and of those of
    the exports before.
    """

    kind = "windows_retired"
    number: int
    file: str
    sha256: str
    sums_sha256: str
    sessions: int
    events: int
