"""That whoever spends too fast is stopped, told by holds and breakers alone."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from supervisor.clock import Clock
from supervisor.events import kinds
from supervisor.events.log import Recorded
from supervisor.governance.breaker import BreakerRules
from supervisor.governance.burning import PARTS
from supervisor.simulation.checks import Checks

_DAY_S = 86_400.0
_SYSTEM = "system"
_NEVER = datetime.min.replace(tzinfo=UTC)
#: What may pass between a look that is due and its commit.
_SLACK_S = 5.0
#: A rate that holds was spent in so many parts of the window, however these are laid.
_PARTS_MIN = 3


@dataclass(frozen=True, slots=True)
class _Cost:
    placed_s: float
    ended_s: float
    cost: int


@dataclass(slots=True)
class BurnRules:
    """What each worker has spent of late, against the daily cap; `*_s` by the monotonic clock.

    `troubled_s` is when a clock was set, or a store was locked: looks then see something else.
    """

    clock: Clock
    checks: Checks
    rules: BreakerRules
    cap: int
    troubled_s: float = -_DAY_S
    _placed: dict[str, float] = field(default_factory=dict)
    _moved_at: dict[str, datetime] = field(default_factory=lambda: defaultdict(lambda: _NEVER))
    _spent: dict[str, deque[_Cost]] = field(default_factory=lambda: defaultdict(deque))

    def follow(self, recorded: Recorded) -> None:
        """Apply one event.

        Raises:
            Violation: a call was placed for somebody who should have been stopped by then.
        """
        match event := recorded.event:
            case kinds.HoldPlaced():
                worker = _worker_of(event.hold)
                self._check(worker)
                # What was asked for before a breaker moved was judged, though it came after.
                if recorded.origin.at > max(self._moved_at[worker], self._moved_at[_SYSTEM]):
                    self._placed[event.hold] = self.clock.monotonic()
            case kinds.HoldSettled() | kinds.HoldForfeited():
                placed_s, now_s = self._placed.pop(event.hold, None), self.clock.monotonic()
                if placed_s is not None:
                    self._spent[_worker_of(event.hold)].append(_Cost(placed_s, now_s, event.cost))
            case kinds.HoldReleased():
                self._placed.pop(event.hold, None)
            case kinds.HoldReconciled():
                # It is of any day, and makes what was spent then less.
                self._spent.clear()
            case kinds.BreakerOpened() | kinds.BreakerClosed():
                self._judged(event.name.removeprefix("worker:"), recorded.origin.at)
            case _:
                return

    def _judged(self, whose: str, at: datetime) -> None:
        """Forget what was spent before a breaker opened or closed: that is not judged again."""
        self._moved_at[whose] = at
        for worker in list(self._spent) if whose == _SYSTEM else [whose]:
            self._spent.pop(worker, None)
            for hold in [hold for hold in self._placed if _worker_of(hold) == worker]:
                del self._placed[hold]

    def _check(self, worker: str) -> None:
        """Check that no look of late can have seen enough to stop this worker."""
        window_s, now_s = self.rules.rate_window_s, self.clock.monotonic()
        oldest_s = now_s - window_s + 1.0
        spent = self._spent[worker]
        while spent and spent[0].placed_s < oldest_s:
            spent.popleft()
        if not self.cap or self.troubled_s > oldest_s - _SLACK_S:
            return
        # Whenever it was, the last look came after these, and its window began before them.
        last_s = now_s - window_s / PARTS - _SLACK_S
        seen = [one for one in spent if oldest_s <= one.placed_s and one.ended_s <= last_s]
        share = sum(one.cost for one in seen) / self.cap
        times = share * _DAY_S / window_s
        is_rate = self.rules.rate_multiple and times > self.rules.rate_multiple
        is_share = self.rules.open_ratio and share >= self.rules.open_ratio
        is_burning = is_share or (is_rate and self._parts(seen) >= _PARTS_MIN)
        rule = "who spends too fast is stopped"
        self.checks.require(not is_burning, rule, worker, f"{times:.1f} x", seen)

    def _parts(self, seen: list[_Cost]) -> int:
        """Return in how many parts of the window it was spent at least."""
        part_s = self.rules.rate_window_s / PARTS + 1.0
        count, last_s = 0, -_DAY_S
        for placed_s in sorted(one.placed_s for one in seen if one.cost):
            if placed_s - last_s >= part_s:
                count, last_s = count + 1, placed_s
        return count


def _worker_of(hold: str) -> str:
    return hold.partition("#")[0]
