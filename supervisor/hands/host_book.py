"""What the daemon knows of the hosts that its workers call: turns, rests, robots.txt."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec

if TYPE_CHECKING:
    from protego import Protego

_V = TypeVar("_V")

_HOSTS_MAX = 2_000


class Robots(msgspec.Struct, frozen=True, kw_only=True):
    """An origin's robots.txt until `stale_at_s`; without `rules` all is allowed, or nothing."""

    rules: Protego | None
    allows_all: bool
    why: str
    stale_at_s: float


class HostBook:
    """Shared by all workers of a daemon, so that their requests to one host add up.

    Moments are those of the event loop, in seconds. Bounded: the oldest hosts are forgotten.
    """

    def __init__(self) -> None:
        self._turns: dict[str, float] = {}
        self._rests: dict[str, float] = {}
        self._robots: dict[str, Robots] = {}
        self._locks: dict[str, anyio.Lock] = {}

    def take_turn(self, host: str, *, every_s: float, now_s: float, latest_s: float) -> float:
        """Reserve the host's next turn and return its moment; none is taken after `latest_s`."""
        turn_s = max(now_s, self._turns.get(host, 0.0))
        if turn_s <= latest_s:
            _keep(self._turns, host, turn_s + every_s)
        return turn_s

    def rest(self, host: str, *, until_s: float) -> None:
        """Remember that the host asked not to be called until then."""
        _keep(self._rests, host, max(until_s, self._rests.get(host, 0.0)))

    def rests_for_s(self, host: str, *, now_s: float) -> float:
        """Return for how long the host is not to be called, 0 where it may be."""
        return max(self._rests.get(host, 0.0) - now_s, 0.0)

    def robots(self, origin: str, *, now_s: float) -> Robots | None:
        """Return the origin's robots.txt, None where it is unknown or stale."""
        known = self._robots.get(origin)
        return known if known is not None and known.stale_at_s > now_s else None

    def keep_robots(self, origin: str, robots: Robots) -> None:
        """Remember an origin's robots.txt."""
        _keep(self._robots, origin, robots)

    def reading_robots(self, origin: str) -> anyio.Lock:
        """Return the lock of whoever reads the origin's robots.txt, so that one does."""
        lock = self._locks.get(origin)
        if lock is None:
            lock = anyio.Lock()
            _keep(self._locks, origin, lock)
        return lock


def _keep(book: dict[str, _V], key: str, value: _V) -> None:
    book.pop(key, None)
    book[key] = value
    if len(book) > _HOSTS_MAX:
        del book[next(iter(book))]
