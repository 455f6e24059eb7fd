"""Whose call it is, beyond the worker that makes it."""

from __future__ import annotations

import msgspec

NAME_MAX = 128


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf a call is made. None: not said; in a limit or a rule, whoever it is."""

    org: str | None = None
    team: str | None = None
    user: str | None = None

    def within(self, default: Identity) -> Identity:
        """Return this identity with what it leaves out taken from `default`.

        Whoever names a user only stays under the limits of the worker's org.
        """
        if self == NOBODY:
            return default
        return Identity(
            org=self.org if self.org is not None else default.org,
            team=self.team if self.team is not None else default.team,
            user=self.user if self.user is not None else default.user,
        )

    def covers(self, other: Identity) -> bool:
        """Return whether a limit or a rule on this identity is one on `other`."""
        return (
            self.org in (None, other.org)
            and self.team in (None, other.team)
            and self.user in (None, other.user)
        )

    def __str__(self) -> str:
        parts = (("org", self.org), ("team", self.team), ("user", self.user))
        return ",".join(f"{kind}:{name}" for kind, name in parts if name is not None) or "nobody"


NOBODY = Identity()


def name_problem(name: str) -> str:
    """Return what keeps `name` from naming an org, team, user or conversation; empty if nothing."""
    if not name:
        return "is empty"
    if len(name) > NAME_MAX:
        return f"has {len(name)} characters, {NAME_MAX} at most are kept"
    if not name.isprintable() or any(character in " ,*" for character in name):
        return "has a space, a comma, a * or what can't be printed"
    return ""
