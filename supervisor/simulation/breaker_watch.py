"""The invariants of breakers, told by events alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.clock import Clock, to_us
from supervisor.errors import BreakerOpen
from supervisor.events import kinds
from supervisor.events.log import Recorded
from supervisor.simulation.checks import Checks

_SYSTEM = "system"


@dataclass(slots=True)
class _Breaker:
    """A breaker that is not closed; `probe` is empty while it is open."""

    opened_at: int = 0
    retry_at: int = 0
    probe: str = ""
    probe_hold: str = ""


@dataclass(slots=True)
class BreakerWatch:
    """Every breaker; `is_running` says whether the tick of that name runs."""

    clock: Clock
    checks: Checks
    is_running: Callable[[str], bool]
    _breakers: dict[str, _Breaker] = field(default_factory=dict)
    _open_holds: set[str] = field(default_factory=set)

    def follow(self, recorded: Recorded) -> None:
        """Apply one event.

        Raises:
            Violation: it should not be there.
        """
        match event := recorded.event:
            case kinds.HoldPlaced():
                self._place(event, to_us(recorded.origin.at))
            case kinds.HoldSettled() | kinds.HoldReleased() | kinds.HoldForfeited():
                self._open_holds.discard(event.hold)
            case kinds.BreakerOpened():
                at = to_us(recorded.origin.at)
                self._breakers[event.name] = _Breaker(opened_at=at, retry_at=event.retry_at)
            case kinds.BreakerHalfOpened():
                self._probe(event, to_us(recorded.origin.at))
            case kinds.BreakerClosed():
                was_open = self._breakers.pop(event.name, None) is not None
                self.checks.require(was_open, "only what is open closes", event)
            case _:
                return

    def _place(self, event: kinds.HoldPlaced, at: int) -> None:
        """Check that every breaker lets the call through: due, or the one probe."""
        tick = event.hold.rpartition(".")[0]
        provider = event.model.partition("/")[0]
        names = (f"worker:{tick.partition('#')[0]}", f"provider:{provider}", _SYSTEM)
        for name in names:
            breaker = self._breakers.get(name)
            if breaker is None:
                continue
            is_free = not breaker.probe_hold or breaker.probe_hold not in self._open_holds
            is_its_tick = breaker.probe.partition(".")[0] == tick
            is_admitted = _is_due(breaker, at) if not breaker.probe else is_free
            is_others = bool(breaker.probe) and not is_its_tick and not name.startswith("provider:")
            is_admitted = is_admitted and not is_others
            self.checks.require(is_admitted, "one probe at a time", name, event, breaker)
            breaker.probe_hold = event.hold
        self._open_holds.add(event.hold)

    def _probe(self, event: kinds.BreakerHalfOpened, at: int) -> None:
        breaker = self._breakers.get(event.name)
        self.checks.require(breaker is not None, "a closed breaker is not probed", event)
        assert breaker is not None, event
        if breaker.probe:
            is_over = not self._is_alive(event.name, breaker, but_for=event.probe)
            self.checks.require(is_over, "one probe at a time", event, breaker)
        else:
            self.checks.require(_is_due(breaker, at), "a breaker cools down", event, breaker)
        breaker.probe = event.probe
        breaker.probe_hold = event.probe if event.probe in self._open_holds else ""

    def _is_alive(self, name: str, breaker: _Breaker, *, but_for: str = "") -> bool:
        if name.startswith("provider:"):
            return breaker.probe in self._open_holds and breaker.probe != but_for
        return self.is_running(breaker.probe.partition(".")[0])

    def check_start(self, worker: str, at: int) -> None:
        """Check that a tick may start.

        Raises:
            Violation: a breaker is open that is not due.
        """
        for name in (f"worker:{worker}", _SYSTEM):
            breaker = self._breakers.get(name)
            is_admitted = breaker is None or bool(breaker.probe) or _is_due(breaker, at)
            self.checks.require(is_admitted, "nothing starts past an open breaker", name, breaker)

    def check_refusal(self, refusal: BreakerOpen) -> None:
        """Check that a breaker refuses only while it is open, or is being probed.

        Raises:
            Violation: it does neither.
        """
        breaker, now = self._breakers.get(refusal.name), to_us(self.clock.now())
        is_so = breaker is not None and (
            self._is_alive(refusal.name, breaker) if breaker.probe else not _is_due(breaker, now)
        )
        self.checks.require(is_so, "no phantom refusal", refusal, breaker)


def _is_due(breaker: _Breaker, at: int) -> bool:
    # Where the clock was set back behind the opening, nobody knows how much is over.
    return at >= breaker.retry_at or at < breaker.opened_at
