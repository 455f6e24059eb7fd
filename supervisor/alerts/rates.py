"""Rates of change: a kind of event that comes much more often than in the window before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from supervisor.alerts.facts import Fact, Severity
from supervisor.alerts.record import SEEN
from supervisor.clock import Clock
from supervisor.events.log import Recorded

#: A window is counted in so many parts.
_PARTS = 12


class RateRule(msgspec.Struct, frozen=True, kw_only=True):
    """Tell when `kind` came at least `at_least` times, and `rise` times as often as before."""

    kind: str
    window_s: float
    rise: float
    at_least: int


class _Counts:
    """How often a kind came in this window and in the one before, in parts."""

    def __init__(self, rule: RateRule, began_s: float) -> None:
        self.rule = rule
        self._began_s = began_s
        self._part_s = rule.window_s / _PARTS
        self._parts: deque[int] = deque([0] * (2 * _PARTS), maxlen=2 * _PARTS)
        self._part = 0

    def move_to(self, now_s: float) -> None:
        part = int((now_s - self._began_s) / self._part_s)
        self._parts.extend([0] * min(part - self._part, 2 * _PARTS))
        self._part = part

    def add(self) -> None:
        self._parts[-1] += 1

    def found(self) -> Fact | None:
        parts = list(self._parts)
        before, now = sum(parts[:_PARTS]), sum(parts[_PARTS:])
        rule = self.rule
        # Two whole windows have to be over: a start is not a rise.
        is_known = self._part >= 2 * _PARTS
        if not is_known or now < rule.at_least or now < rule.rise * max(before, 1):
            return None
        return Fact(
            key=f"{SEEN}rate:{rule.kind}",
            severity=Severity.WARNING,
            title=f"{rule.kind} comes more and more often",
            what=f"{now} in the last {rule.window_s:g} s, {before} in the window before",
            done="nothing: a rate alone stops nobody",
            command=f"`supervisor events --kind {rule.kind}`",
        )


class Rates:
    """Counts what this daemon commits; a start begins with two windows of silence."""

    def __init__(self, rules: Callable[[], Sequence[RateRule]], clock: Clock) -> None:
        self._rules = rules
        self._clock = clock
        self._counts: dict[RateRule, _Counts] = {}

    def follow(self, facts: Sequence[object]) -> None:
        """Count what one commit has made true."""
        self._take_up_rules()
        if not self._counts:
            return
        for fact in facts:
            if isinstance(fact, Recorded):
                self._count(fact.event.kind)

    def _count(self, kind: str) -> None:
        for rule, counts in self._counts.items():
            if rule.kind == kind:
                counts.move_to(self._clock.monotonic())
                counts.add()

    def _take_up_rules(self) -> None:
        rules = self._rules()
        if list(self._counts) != list(rules):
            now_s = self._clock.monotonic()
            self._counts = {rule: self._counts.get(rule) or _Counts(rule, now_s) for rule in rules}

    def found(self) -> list[Fact]:
        """Return what comes more often than it may now."""
        self._take_up_rules()
        now_s = self._clock.monotonic()
        for counts in self._counts.values():
            counts.move_to(now_s)
        return [fact for counts in self._counts.values() if (fact := counts.found()) is not None]
