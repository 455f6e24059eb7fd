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


@dataclass(frozen=True, slots=True)
class ModelHold:
    """A hold; `at` is by the ledger's clock, `used` what it counts for now."""

    worker: str
    session: str
    model: str
    at: datetime
    held: Triple
    status: str = "open"
    settled: Triple = (0, 0, 0)

    @property
    def used(self) -> Triple:
        return self.held if self.status == "open" else self.settled


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

    def keys(self, *, worker: str, session: str, model: str) -> Iterator[LimitKey]:
        """Yield the limits that a call falls under."""
        scopes = {"system", "session", f"worker:{worker}", f"model:{model}"}
        return (key for key in self.limits if key[0] in scopes)

    def account(self, key: LimitKey, session: str) -> str:
        """Return the id of the account that a limit is kept on now."""
        scope, period, unit = key
        if scope == "session":
            return f"session:{session}/{unit}"
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

    def _counted(self, key: LimitKey, session: str) -> list[ModelHold]:
        """Return every hold that counts on a limit's account of now."""
        scope, period, _ = key
        kind, _, name = scope.partition(":")
        found = [
            hold
            for hold in self.holds.values()
            if (kind != "worker" or hold.worker == name) and (kind != "model" or hold.model == name)
        ]
        if scope == "session" or period == "session":
            return [hold for hold in found if hold.session == session]
        if period == "unlimited":
            return found
        start, end = wall_clock.period(period, self.clock, self.zone)
        return [hold for hold in found if start <= hold.at < end]

    def balance(self, key: LimitKey, session: str) -> tuple[int, int]:
        """Return what is settled and what is held on a limit's account of now, in its unit."""
        place = UNITS.index(key[2])
        counted = self._counted(key, session)
        held = sum(hold.held[place] for hold in counted if hold.status == "open")
        settled = sum(hold.settled[place] for hold in counted if hold.status != "open")
        return settled, held

    def unfit(self, amounts: Triple, *, worker: str, session: str, model: str) -> list[LimitKey]:
        """Return the limits under which a hold does not fit; it is to be placed if there is none.

        A hold of nothing fits everywhere: it can't overspend.
        """
        short = []
        for key in self.keys(worker=worker, session=session, model=model):
            amount = amounts[UNITS.index(key[2])]
            if amount and sum(self.balance(key, session)) + amount > self.limits[key]:
                short.append(key)
        return short
