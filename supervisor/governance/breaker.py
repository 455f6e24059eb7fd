"""What a breaker is: its states, its rules, and whom it admits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from supervisor.clock import from_us, to_us
from supervisor.errors import BreakerOpen
from supervisor.storage.database import Transaction

#: How long a worker waits that meets another's probe: whatever it finds is known soon.
PROBE_WAIT_S = 30.0
SYSTEM_BREAKER = "system"
#: A cooldown doubles no further: by then it has met its maximum.
_DOUBLINGS_MAX = 20


class BreakerState(StrEnum):
    """Where a breaker stands; half-open lets one probe through at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Cause(StrEnum):
    """What opened a breaker."""

    NONE = ""
    OVERRUN = "overrun"
    FAILURES = "failures"
    RATE = "rate"
    SHARE = "share"
    NO_PROGRESS = "no_progress"


class BreakerRules(msgspec.Struct, frozen=True, kw_only=True):
    """When breakers open, and for how long; a number of 0 turns its rule off.

    Without any of them there is only the breaker for calls above their hold (requirement L3).
    """

    failures_max: int = 0
    provider_failures_max: int = 0
    system_failures_max: int = 0
    repeats_max: int = 0
    rate_multiple: float = 0.0
    rate_window_s: float = 300.0
    open_ratio: float = 0.0
    cooldown_s: float = 300.0
    cooldown_max_s: float = 3_600.0

    def failures_max_of(self, name: str) -> int:
        """Return how many failures in a row open the breaker `name`."""
        if name == SYSTEM_BREAKER:
            return self.system_failures_max
        is_provider = name.startswith("provider:")
        return self.provider_failures_max if is_provider else self.failures_max

    def cooldown_of(self, openings: int) -> timedelta:
        """Return how long a breaker stays open that opens for the `openings`-th time on end."""
        doubled_s = self.cooldown_s * 2.0 ** min(openings - 1, _DOUBLINGS_MAX)
        return timedelta(seconds=min(doubled_s, self.cooldown_max_s))


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker as stored; moments in microseconds since 1970 UTC.

    `failures` counts those in a row, `openings` how often it opened without staying closed for
    long. The probe is a tick until that makes a call, then `probe_hold`; the last two fields say
    whether they still run.
    """

    name: str
    state: BreakerState = BreakerState.CLOSED
    cause: Cause = Cause.NONE
    why: str = ""
    changed_at: int = 0
    retry_at: int = 0
    openings: int = 0
    failures: int = 0
    probe_worker: str = ""
    probe_tick: int = 0
    probe_hold: str = ""
    is_tick_running: bool = False
    is_hold_open: bool = False

    @property
    def is_of_provider(self) -> bool:
        return self.name.startswith("provider:")

    @property
    def probe(self) -> str:
        """Return the hold or the tick that is the probe, empty where there is none."""
        tick = f"{self.probe_worker}#{self.probe_tick}" if self.probe_worker else ""
        return self.probe_hold or tick

    def is_due(self, now: datetime) -> bool:
        """Return whether an open breaker lets a probe through.

        Also where the clock stands before the moment at which it opened: it was set back, nobody
        knows how much of the cooldown is over, and one probe is cheaper than years of waiting.
        """
        at = to_us(now)
        return at >= self.retry_at or at < self.changed_at

    def is_probed_by(self, worker: str, tick: int) -> bool:
        """Return whether that tick is the probe, or made it."""
        return (self.probe_worker, self.probe_tick) == (worker, tick) and tick > 0

    @property
    def is_probe_alive(self) -> bool:
        """Return whether the probe runs.

        A provider is probed by the call alone. What probes a worker, or all, is a tick: until it
        is over no other one may, even where its own call has ended without a verdict.
        """
        return self.is_hold_open if self.is_of_provider else self.is_tick_running


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks a breaker: a tick, which has no number before it begins, or a call of it.

    `is_call` says that it is a paid call, of which a probe has one at a time. `inside` is the hold
    in whose block it is made, if it is made in one: a part of a probe is that probe.
    """

    worker: str
    tick: int = 0
    is_call: bool = False
    provider: str = ""
    inside: str = ""

    @property
    def breakers(self) -> tuple[str, str, str]:
        """The names of the breakers that it has to pass; that of a provider only for a call."""
        provider = provider_breaker(self.provider) if self.provider else ""
        return worker_breaker(self.worker), provider, SYSTEM_BREAKER


def worker_breaker(worker: str) -> str:
    """Return the name of the worker's breaker."""
    return f"worker:{worker}"


def provider_breaker(provider: str) -> str:
    """Return the name of the provider's breaker."""
    return f"provider:{provider}"


def provider_of(model: str) -> str:
    """Return the provider in `provider/model`, empty for a call of no model."""
    return model.partition("/")[0] if "/" in model else ""


def find_breaker(tx: Transaction, name: str) -> Breaker | None:
    """Return a breaker, None where it has neither opened nor counted a failure."""
    return tx.row("governance.breaker", Breaker, name=name)


def all_breakers(tx: Transaction) -> list[Breaker]:
    """Return every breaker that has opened or counted a failure once, by name."""
    return tx.rows("governance.breakers", Breaker)


def watched_breakers(tx: Transaction, asker: Asker) -> list[Breaker]:
    """Return those of the asker's breakers that are not closed, or count failures."""
    worker, provider, system = asker.breakers
    return tx.rows(
        "governance.watched_breakers", Breaker, worker=worker, provider=provider, system=system
    )


def admits(breaker: Breaker, asker: Asker, now: datetime) -> BreakerOpen | None:
    """Return the refusal of a breaker that is open, or that is being probed by another."""
    match breaker.state:
        case BreakerState.CLOSED:
            return None
        case BreakerState.OPEN:
            if breaker.is_due(now):
                return None
            return _refusal(breaker, from_us(breaker.retry_at))
        case BreakerState.HALF_OPEN:
            if not breaker.is_probe_alive or _is_part_of_probe(breaker, asker):
                return None
            return _refusal(breaker, now + timedelta(seconds=PROBE_WAIT_S))


def _is_part_of_probe(breaker: Breaker, asker: Asker) -> bool:
    if breaker.is_hold_open and asker.is_call:
        return asker.inside == breaker.probe_hold
    return breaker.is_probed_by(asker.worker, asker.tick)


def _refusal(breaker: Breaker, retry_at: datetime) -> BreakerOpen:
    probe = breaker.probe if breaker.state is BreakerState.HALF_OPEN else ""
    return BreakerOpen(name=breaker.name, why=breaker.why, retry_at=retry_at, probe=probe)


def to_probe(breakers: Sequence[Breaker], asker: Asker) -> list[Breaker]:
    """Return those breakers whose probe the asker becomes, where all of them admit it."""
    return [
        breaker
        for breaker in breakers
        if breaker.state is not BreakerState.CLOSED
        and not (breaker.is_hold_open and asker.inside == breaker.probe_hold)
    ]
