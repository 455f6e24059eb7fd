"""What an audit has found."""

from __future__ import annotations

import msgspec

from supervisor.events.log import EventRow

#: How many findings are kept; the rest is counted.
FINDINGS_MAX = 100


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One row that differs from what the events say; `seq` where it is an event."""

    subject: str
    what: str
    session_id: str = ""
    seq: int | None = None

    @property
    def text(self) -> str:
        """The finding in one line."""
        number = "" if self.seq is None else f", event {self.seq}"
        place = f" (session {self.session_id}{number})" if self.session_id else ""
        return f"{self.subject}: {self.what}{place}"


class Findings:
    """Findings in the order in which they were met: the first one is the first that differs."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.total = 0

    def add(
        self, subject: str, what: str, at: EventRow | None = None, *, session_id: str = ""
    ) -> None:
        """Add a finding, met at the event `at`, in a session as a whole, or outside of all."""
        self.total += 1
        if len(self.kept) < FINDINGS_MAX:
            self.kept.append(
                Finding(
                    subject=subject,
                    what=what,
                    session_id=session_id if at is None else at.session_id,
                    seq=None if at is None else at.seq,
                )
            )
