"""Breakers as their texts say they are: requirement L8, decision 0041, the README's section.

Moments are whole seconds; nothing of `supervisor.governance` is used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

#: Failures in a row that open the breaker of a worker, of a provider, of all.
FAILURES_MAX = {"worker": 3, "provider": 2, "system": 4}
COOLDOWN_S = 300
COOLDOWN_MAX_S = 1_200

State: TypeAlias = Literal["closed", "open", "half_open"]
#: How something ended. A call that was turned down failed, and not by its provider's fault; what
#: was cut off, or whose end nobody knows, has no verdict. A crash is counted elsewhere.
Verdict: TypeAlias = Literal["good", "failed", "turned down", "crashed", "none"]
Tick: TypeAlias = tuple[str, int]


@dataclass(slots=True, kw_only=True)
class ModelCall:
    """A call that is under way; `inside` is the call in whose block it is made."""

    hold: str
    tick: Tick
    provider: str
    inside: str = ""


@dataclass(slots=True)
class ModelBreaker:
    """One scope's breaker; it is probed by a tick, and by one call of that at a time."""

    name: str
    state: State = "closed"
    failures: int = 0
    openings: int = 0
    changed_s: int = 0
    retry_s: int = 0
    probe_tick: Tick | None = None
    probe_hold: str = ""

    @property
    def kind(self) -> str:
        return self.name.partition(":")[0]

    def is_due(self, now_s: int) -> bool:
        """Whether its cooldown is over, or the clock stands before the moment when it began."""
        return now_s >= self.retry_s or now_s < self.changed_s

    def open(self, now_s: int) -> None:
        """Open it, for twice as long as the last time unless it was well for long since."""
        if self.state == "open":
            return
        closed_s = now_s - self.changed_s
        was_well = self.state == "closed" and (closed_s >= COOLDOWN_MAX_S or closed_s < 0)
        self.openings = 1 if was_well else self.openings + 1
        self.state, self.changed_s = "open", now_s
        self.retry_s = now_s + min(COOLDOWN_S * 2 ** (self.openings - 1), COOLDOWN_MAX_S)
        self.probe_tick, self.probe_hold = None, ""

    def close(self, now_s: int, *, failures: int = 0) -> None:
        """Close it; how often it had opened is remembered for a while."""
        self.state, self.changed_s, self.failures = "closed", now_s, failures
        self.retry_s, self.probe_tick, self.probe_hold = 0, None, ""

    def fail(self, now_s: int) -> None:
        """Count a failure in a row, and open it with as many as it takes."""
        self.failures += 1
        if self.state == "closed" and self.failures >= FAILURES_MAX[self.kind]:
            self.open(now_s)


@dataclass(slots=True)
class BreakerModel:
    """Every breaker, and the ticks and calls that are under way."""

    breakers: dict[str, ModelBreaker] = field(default_factory=dict)
    ticks: set[Tick] = field(default_factory=set)
    calls: dict[str, ModelCall] = field(default_factory=dict)

    def find(self, name: str) -> ModelBreaker:
        return self.breakers.setdefault(name, ModelBreaker(name))

    def is_alive(self, breaker: ModelBreaker) -> bool:
        """Whether its probe is under way: a provider's is a call, that of others is a tick."""
        if breaker.kind == "provider":
            return breaker.probe_hold in self.calls
        return breaker.probe_tick in self.ticks

    # --- who may pass

    def refusing(
        self, worker: str, now_s: int, call: ModelCall | None = None
    ) -> Iterator[ModelBreaker]:
        """Yield the breakers that let this tick, or this call, not through."""
        for breaker in self._of(worker, call):
            if breaker.state == "open" and not breaker.is_due(now_s):
                yield breaker
            is_probed = breaker.state == "half_open" and self.is_alive(breaker)
            if is_probed and not (call and self._is_part(breaker, call)):
                yield breaker

    def _is_part(self, breaker: ModelBreaker, call: ModelCall) -> bool:
        if breaker.probe_hold in self.calls:
            return call.inside == breaker.probe_hold
        return breaker.probe_tick == call.tick

    def _of(self, worker: str, call: ModelCall | None) -> list[ModelBreaker]:
        names = [f"worker:{worker}", "system"]
        if call is not None and call.provider:
            names.append(f"provider:{call.provider}")
        return [self.find(name) for name in names]

    def probed_by(self, worker: str, call: ModelCall | None = None) -> list[ModelBreaker]:
        """Return the breakers whose probe this tick, or this call, becomes."""
        return [
            breaker
            for breaker in self._of(worker, call)
            if breaker.state != "closed"
            and not (call and call.inside and breaker.probe_hold == call.inside)
        ]

    def is_noisy(self, worker: str, call: ModelCall | None = None) -> bool:
        """Return whether one of them is not closed, or counts failures."""
        return any(one.state != "closed" or one.failures for one in self._of(worker, call))

    # --- what happens

    def begin(self, tick: Tick, now_s: int) -> None:
        """Let a tick begin, which probes what is not closed."""
        self._probe(self.probed_by(tick[0]), tick, "", now_s)
        self.ticks.add(tick)

    def place(self, call: ModelCall, now_s: int) -> None:
        """Let a call begin, which probes what is not closed."""
        self._probe(self.probed_by(call.tick[0], call), call.tick, call.hold, now_s)
        self.calls[call.hold] = call

    def _probe(self, breakers: Iterable[ModelBreaker], tick: Tick, hold: str, now_s: int) -> None:
        for breaker in breakers:
            if breaker.state == "open":
                breaker.state, breaker.changed_s = "half_open", now_s
            breaker.probe_tick, breaker.probe_hold = tick, hold

    def end_call(self, hold: str, verdict: Verdict, now_s: int, *, is_alarming: bool) -> None:
        """End a call; an alarming one cost more than its hold, or is the third of its like."""
        call = self.calls.pop(hold)
        if is_alarming:
            self.find(f"worker:{call.tick[0]}").open(now_s)
        for breaker in self._of(call.tick[0], call):
            is_probe = breaker.state == "half_open" and breaker.probe_hold == hold
            if breaker.kind == "provider":
                self._end_at_provider(breaker, verdict, now_s, is_probe=is_probe)
            elif is_probe and verdict in ("failed", "turned down"):
                breaker.open(now_s)
            elif is_probe and verdict == "good":
                # That its call went well says little of its tick: one failure more opens it again.
                most = FAILURES_MAX[breaker.kind] - 1
                breaker.close(now_s, failures=min(breaker.failures, most))

    def _end_at_provider(
        self, breaker: ModelBreaker, verdict: Verdict, now_s: int, *, is_probe: bool
    ) -> None:
        if verdict == "failed":
            if is_probe:
                breaker.open(now_s)
            else:
                breaker.fail(now_s)
        elif verdict == "good":
            if is_probe:
                breaker.close(now_s)
            else:
                breaker.failures = 0

    def end_tick(self, tick: Tick, verdict: Verdict, now_s: int) -> None:
        """End a tick with the calls that it has left open, which say nothing."""
        self.cut_off(tick)
        for breaker in self._of(tick[0], None):
            if breaker.state == "half_open" and breaker.probe_tick == tick:
                if verdict in ("failed", "crashed"):
                    breaker.open(now_s)
                elif verdict == "good":
                    breaker.close(now_s)
            elif verdict == "failed":
                breaker.fail(now_s)
            elif verdict == "good":
                breaker.failures = 0

    def cut_off(self, tick: Tick) -> None:
        """End a tick, and its calls, without a verdict: a probe leaves its place to the next."""
        self.ticks.discard(tick)
        self.calls = {hold: call for hold, call in self.calls.items() if call.tick != tick}

    def cut_off_all(self) -> None:
        """End all that is under way, as a kill -9 does."""
        for tick in list(self.ticks):
            self.cut_off(tick)
