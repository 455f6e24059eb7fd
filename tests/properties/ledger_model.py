"""What the ledger must hold, told in plain Python: no SQL, no increments, only sums over holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tests.properties import wall_clock

UNITS = ("micro_usd", "tokens", "actions")
#: cost, tokens, actions: in the order of `UNITS`.
Triple = tuple[int, int, int]
#: scope, period, unit: what a limit in the config is on.
LimitKey = tuple[str, str, str]
#: org, team, user, conversation.
Who = tuple[str, str, str, str]
NOBODY: Who = ("", "", "", "")


@dataclass(frozen=True, slots=True)
class ModelHold:
    """A hold; `at` is by the ledger's clock, `used` what it counts for now."""

    worker: str
    session: str
    model: str
    at: datetime
    held: Triple
    who: Who = NOBODY
    status: str = "open"
    settled: Triple = (0, 0, 0)

    @property
    def names(self) -> dict[str, str]:
        return names_of(self.worker, self.model, self.who)

    @property
    def used(self) -> Triple:
        return self.held if self.status == "open" else self.settled


def names_of(worker: str, model: str, who: Who) -> dict[str, str]:
    """Return a call's name of each kind that a scope can name."""
    org, team, user, conversation = who
    return {
        "worker": worker,
        "model": model,
        "org": org,
        "team": team,
        "user": user,
        "conversation": conversation,
    }


def scope_on(scope: str, names: Mapping[str, str], session: str) -> str | None:
    """Return on what a limit on `scope` counts a call, None where it does not."""
    if scope == "system":
        return scope
    if scope == "session":
        return f"session:{session}"
    found = []
    for part in scope.split(","):
        kind, name = part.split(":")
        if names[kind] == "" or name not in ("*", names[kind]):
            return None
        found.append(f"{kind}:{names[kind]}")
    return ",".join(found)


@dataclass(slots=True)
class LedgerModel:
    """The ledger as the requirements tell it. `limits` are the config's of now."""

    zone: ZoneInfo
    limits: Mapping[LimitKey, int] = field(default_factory=dict)
    clock: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    holds: dict[str, ModelHold] = field(default_factory=dict)

    def tick(self, now: datetime) -> None:
        """Let the ledger see the wall clock: it never goes back."""
        self.clock = max(self.clock, now)

    def keys(self, names: Mapping[str, str], session: str) -> Iterator[LimitKey]:
        """Yield the limits that a call falls under."""
        return (key for key in self.limits if scope_on(key[0], names, session) is not None)

    def account(self, key: LimitKey, names: Mapping[str, str], session: str) -> str:
        """Return the id of the account that a limit is kept on now, for such a call."""
        template, period, unit = key
        scope = scope_on(template, names, session)
        if (template, period) == ("session", "session"):
            return f"{scope}/{unit}"
        return f"{scope}/{period}/{self._period_key(period, session)}/{unit}"

    def _period_key(self, period: str, session: str) -> str:
        if period == "session":
            return session
        if period == "unlimited":
            return "all"
        start, _ = wall_clock.period(period, self.clock, self.zone)
        day = wall_clock.day_of(start, self.zone)
        match period:
            case "hour":
                return f"{start:%Y-%m-%dT%H:%MZ}"
            case "day":
                return f"{day:%Y-%m-%d}"
            case "week":
                return f"{day:%G-W%V}"
            case _:
                return f"{day:%Y-%m}"

    def ends_at(self, key: LimitKey) -> datetime | None:
        """Return when the account's period ends."""
        if key[1] in ("session", "unlimited"):
            return None
        return wall_clock.period(key[1], self.clock, self.zone)[1]

    def _counted(self, key: LimitKey, names: Mapping[str, str], session: str) -> list[ModelHold]:
        """Return every hold that counts on the account of now of a limit, for such a call."""
        template, period, _ = key
        scope = scope_on(template, names, session)
        found = [
            hold
            for hold in self.holds.values()
            if scope_on(template, hold.names, hold.session) == scope
        ]
        if period == "session":
            return [hold for hold in found if hold.session == session]
        if period == "unlimited":
            return found
        start, end = wall_clock.period(period, self.clock, self.zone)
        return [hold for hold in found if start <= hold.at < end]

    def balance(self, key: LimitKey, names: Mapping[str, str], session: str) -> tuple[int, int]:
        """Return what is settled and what is held on a limit's account of now, in its unit."""
        place = UNITS.index(key[2])
        counted = self._counted(key, names, session)
        held = sum(hold.held[place] for hold in counted if hold.status == "open")
        settled = sum(hold.settled[place] for hold in counted if hold.status != "open")
        return settled, held

    def unfit(self, amounts: Triple, names: Mapping[str, str], session: str) -> list[LimitKey]:
        """Return the limits under which a hold does not fit; it is to be placed if there is none.

        A hold of nothing fits everywhere: it can't overspend.
        """
        short = []
        for key in self.keys(names, session):
            amount = amounts[UNITS.index(key[2])]
            if amount and sum(self.balance(key, names, session)) + amount > self.limits[key]:
                short.append(key)
        return short
