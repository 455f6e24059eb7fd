"""The ticks that are running now, so that a kill can reach them."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from supervisor.errors import KillSwitchEngaged
from supervisor.governance.kill_switch import Latch, applying


class Flight:
    """One running tick; `killed_by` is set when a kill has cancelled it.

    `stuck_why` is set when it was cancelled because nothing happened in its session.
    """

    def __init__(self, worker: str, session_id: str, scope: anyio.CancelScope) -> None:
        self.worker = worker
        self.session_id = session_id
        self.killed_by: KillSwitchEngaged | None = None
        self.stuck_why = ""
        self._scope = scope

    def kill(self, refusal: KillSwitchEngaged) -> None:
        """Cancel the tick now."""
        self.killed_by = refusal
        self._scope.cancel()

    def give_up(self, why: str) -> None:
        """Cancel the tick as stuck."""
        self.stuck_why = why
        self._scope.cancel()


class Registration:
    """The place of a running tick among all, while its block runs."""

    __slots__ = ("_flight", "_in_flight")

    def __init__(self, in_flight: InFlight, flight: Flight) -> None:
        self._in_flight = in_flight
        self._flight = flight

    def __enter__(self) -> Flight:
        self._in_flight.add(self._flight)
        return self._flight

    def __exit__(self, *_: object) -> None:
        self._in_flight.discard(self._flight)


class InFlight:
    """Every running tick of this daemon. Written only by the ticks themselves.

    `arrivals` counts those that have ever come; each job of a claim comes for itself.
    """

    def __init__(self) -> None:
        self.arrivals = 0
        self._flights: set[Flight] = set()
        self._arrival = anyio.Event()

    def register(self, worker: str, session_id: str, scope: anyio.CancelScope) -> Registration:
        """Hold a running tick's place while it runs: `with` it, which gives its flight."""
        return Registration(self, Flight(worker, session_id, scope))

    def add(self, flight: Flight) -> None:
        """Let a tick be reached from now on."""
        self.arrivals += 1
        self._flights.add(flight)
        self._arrival.set()

    def discard(self, flight: Flight) -> None:
        """Let it be reached no more."""
        self._flights.discard(flight)
        if not self._flights:
            self._arrival = anyio.Event()

    async def wait_for_one(self) -> None:
        """Wait until a tick runs."""
        await self._arrival.wait()

    def running(self) -> list[Flight]:
        """Return every running tick."""
        return list(self._flights)

    def kill(self, latches: Sequence[Latch]) -> list[Flight]:
        """Cancel every tick that a latched kill reaches, and return those."""
        reached: list[Flight] = []
        for flight in self._flights:
            refusal = applying(latches, worker=flight.worker, session_id=flight.session_id)
            if refusal is not None and flight.killed_by is None:
                flight.kill(refusal)
                reached.append(flight)
        return reached

    def __len__(self) -> int:
        return len(self._flights)
