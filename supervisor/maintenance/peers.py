"""Which other lives on this store are over."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import msgspec

from supervisor.clock import Clock
from supervisor.storage.database import Transaction

#: Six missed beats at the default `heartbeat_s`.
SILENT_S = 30.0


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A life that has not said that it ended; `heartbeat_at` is by its own clock."""

    boot_id: str
    host: str
    pid: int
    heartbeat_at: int


def living_peers(tx: Transaction, boot_id: str) -> list[Peer]:
    """Return every other life that the store has for running."""
    return tx.rows("daemons.others", Peer, boot_id=boot_id)


class _Worker(msgspec.Struct, frozen=True):
    name: str


def workers_elsewhere(tx: Transaction, boot_id: str) -> frozenset[str]:
    """Return the workers of other daemons that go on; pausing and closing them is theirs."""
    return frozenset(row.name for row in tx.rows("workers.elsewhere", _Worker, boot_id=boot_id))


def process_runs(pid: int) -> bool:
    """Return whether there is such a process on this host, other than this one."""
    if pid <= 0 or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Peers:
    """Tells the dead from the living by what each of them does, not by anybody's wall clock.

    On this host a life is over with its process. Anywhere, it is over when its heartbeat has not
    moved for 30 s of this host's monotonic clock, so that clocks that differ bury nobody alive.
    One that is buried too early can't overspend: its holds are forfeited, and what it places
    afterwards is held as ever. Written only by `dead`.
    """

    def __init__(
        self, *, host: str, clock: Clock, runs: Callable[[int], bool] = process_runs
    ) -> None:
        self._host = host
        self._clock = clock
        self._runs = runs
        self._beats: dict[str, tuple[int, float]] = {}

    def dead(self, peers: Sequence[Peer]) -> list[str]:
        """Return the boot ids of those that are over, as far as can be known by now."""
        now_s = self._clock.monotonic()
        seen = self._beats
        self._beats = {}
        for peer in peers:
            beat, since_s = seen.get(peer.boot_id, (peer.heartbeat_at, now_s))
            is_new = beat != peer.heartbeat_at
            self._beats[peer.boot_id] = (peer.heartbeat_at, now_s if is_new else since_s)
        return [peer.boot_id for peer in peers if self._is_dead(peer, now_s)]

    def _is_dead(self, peer: Peer, now_s: float) -> bool:
        if peer.host == self._host and not self._runs(peer.pid):
            return True
        _, since_s = self._beats[peer.boot_id]
        return now_s - since_s >= SILENT_S
