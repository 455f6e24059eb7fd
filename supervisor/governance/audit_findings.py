"""What an audit has found."""

from __future__ import annotations

import msgspec

from supervisor.events.log import EventRow

#: How many findings are kept; the rest is counted.
FINDINGS_MAX = 100
#: How many of a kind are kept also beyond that: a thousand broken events hide no balance.
FIRST_OF_KIND = 5


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One row that differs from what the events say; `seq` where it is an event."""

    subject: str
    what: str
    session_id: str = ""
    seq: int | None = None

    @property
    def kind(self) -> str:
        """What the row is: the first word of its subject (event, session, account, hold, ...)."""
        return self.subject.partition(" ")[0]

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
        self.by_kind: dict[str, int] = {}

    @property
    def total(self) -> int:
        """How many there are, also those that are not kept."""
        return sum(self.by_kind.values())

    def add(
        self, subject: str, what: str, at: EventRow | None = None, *, session_id: str = ""
    ) -> None:
        """Add a finding, met at the event `at`, in a session as a whole, or outside of all."""
        finding = Finding(
            subject=subject,
            what=what,
            session_id=session_id if at is None else at.session_id,
            seq=None if at is None else at.seq,
        )
        count = self.by_kind[finding.kind] = self.by_kind.get(finding.kind, 0) + 1
        if len(self.kept) < FINDINGS_MAX or count <= FIRST_OF_KIND:
            self.kept.append(finding)
