"""What is wrong right now: weather at the providers, the store's lock, the next death."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from supervisor.clock import Clock
from supervisor.simulation.faults import Fault, FaultKind

#: How many commits or calls pass before an armed death, at most.
_COMMITS_MAX = 12
_CALLS_MAX = 3


class Conduct(StrEnum):
    """What one call meets; all but the first are faults."""

    ANSWER = "answer"
    NO_USAGE = "no_usage"
    CUT_OFF = "cut_off"
    SERVER_ERROR = "server_error"
    GARBAGE = "garbage"
    HANG = "hang"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    OVERSTATED = "overstated_usage"
    UNDERSTATED = "understated_usage"
    OVERRUN = "overrun"


_SINGLE = {
    Conduct.NO_USAGE: 0.01,
    Conduct.CUT_OFF: 0.01,
    Conduct.SERVER_ERROR: 0.01,
    Conduct.GARBAGE: 0.003,
    Conduct.HANG: 0.003,
    Conduct.UNREACHABLE: 0.005,
    Conduct.RATE_LIMITED: 0.01,
    Conduct.OVERSTATED: 0.003,
    Conduct.UNDERSTATED: 0.003,
    Conduct.OVERRUN: 0.002,
}
_IN_AN_OUTAGE = (Conduct.SERVER_ERROR, Conduct.UNREACHABLE, Conduct.CUT_OFF)
_SLOW_FACTOR = 12.0


class Fortune:
    """The misfortunes in force, and how often each has struck. Written by the world alone."""

    def __init__(
        self, clock: Clock, chance: random.Random, *, has_mishaps: bool, die: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._has_mishaps = has_mishaps
        self._die = die
        self._until_s: dict[FaultKind, float] = {}
        self._armed: dict[FaultKind, tuple[int, Fault]] = {}
        self.struck: Counter[str] = Counter()
        self.downtime_s = 0.0

    def begin(self, fault: Fault) -> None:
        """Let a misfortune last for its span."""
        until_s = self._clock.monotonic() + fault.span_s
        self._until_s[fault.kind] = max(until_s, self._until_s.get(fault.kind, 0.0))
        self.struck[fault.kind] += 1

    def arm(self, fault: Fault) -> None:
        """Let the process die at one of its next commits or calls."""
        is_commit = fault.kind in (FaultKind.CRASH_BEFORE_COMMIT, FaultKind.CRASH_AFTER_COMMIT)
        most = _COMMITS_MAX if is_commit else _CALLS_MAX
        self._armed[fault.kind] = (1 + int(fault.luck * most), fault)

    def clear(self) -> None:
        """End every misfortune: the month is over."""
        self._until_s.clear()
        self._armed.clear()
        self._has_mishaps = False

    def is_on(self, kind: FaultKind) -> bool:
        return self._until_s.get(kind, 0.0) > self._clock.monotonic()

    def _strikes(self, kind: FaultKind) -> bool:
        armed = self._armed.get(kind)
        if armed is None:
            return False
        left, fault = armed
        if left > 1:
            self._armed[kind] = (left - 1, fault)
            return False
        del self._armed[kind]
        self.downtime_s = fault.span_s
        self.struck[kind] += 1
        self._die()
        return True

    # --- the store's fate

    def locked_for(self) -> str:
        if self.is_on(FaultKind.STORE_LOCKED):
            return "was locked for 5 s by another process"
        return "the disk is full; nothing was written" if self.is_on(FaultKind.DISK_FULL) else ""

    def dies_before_commit(self) -> bool:
        return self._strikes(FaultKind.CRASH_BEFORE_COMMIT)

    def dies_after_commit(self) -> bool:
        return self._strikes(FaultKind.CRASH_AFTER_COMMIT)

    # --- a call's fate

    def dies_before_call(self) -> bool:
        """Return whether the process dies between its hold and its call."""
        return self._strikes(FaultKind.CRASH_BEFORE_CALL)

    def dies_in_call(self) -> bool:
        """Return whether the process dies when its call's work is done, before the answer."""
        return self._strikes(FaultKind.CRASH_IN_CALL)

    def conduct(self) -> Conduct:
        """Return what the next call meets."""
        conduct = self._by_weather() or self._by_chance()
        if conduct is not Conduct.ANSWER:
            self.struck[f"call_{conduct}"] += 1
        return conduct

    def _by_weather(self) -> Conduct | None:
        if self.is_on(FaultKind.OUTAGE):
            return self._chance.choice(_IN_AN_OUTAGE)
        if self.is_on(FaultKind.STORM_429):
            return Conduct.RATE_LIMITED
        return Conduct.HANG if self.is_on(FaultKind.HANGS) else None

    def _by_chance(self) -> Conduct:
        if not self._has_mishaps:
            return Conduct.ANSWER
        draw = self._chance.random()
        for conduct, odds in _SINGLE.items():
            if draw < odds:
                return conduct
            draw -= odds
        return Conduct.ANSWER

    def latency_s(self) -> float:
        """Return how long the next call takes."""
        latency_s = min(self._chance.lognormvariate(0.7, 0.8), 60.0)
        return latency_s * _SLOW_FACTOR if self.is_on(FaultKind.SLOW) else latency_s
