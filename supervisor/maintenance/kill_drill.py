"""Rehearsing the kill switch: a canary is killed in flight, and how long that takes is measured."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import anyio
import msgspec

from supervisor.clock import Clock
from supervisor.errors import IllegalMove
from supervisor.events.log import Origin
from supervisor.governance import drills, kill_switch
from supervisor.governance.drills import CANARY, CANARY_SCOPE, KILL_WHY, Drill, Verdict
from supervisor.governance.kill_switch import KillCommand
from supervisor.storage.database import Database, Transaction

_POLL_S = 0.01
#: What a daemon may take to notice a drill and begin the canary's tick.
_START_MAX_S = 10.0
#: What the canary gets to be deep in its call before it is killed.
_FLIGHT_S = 0.2
#: How long beyond the limit it is watched, so that a late end is told from none.
_WATCHED_S = 5.0


class _Tick(msgspec.Struct, frozen=True):
    number: int
    outcome: str | None
    why: str
    boot_id: str


class _Number(msgspec.Struct, frozen=True):
    number: int


class _Holds(msgspec.Struct, frozen=True):
    placed: int
    left_open: int


class _Failed(Exception):
    """The drill has shown something; the text is its verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillDrill:
    """One drill, on a connection of its own, as a person's `supervisor kill` has one.

    Written only by `run`. `limit_s` is what a kill may take from the command to the recorded end
    of the work in flight: [supervisor] kill_latency_s.
    """

    database: Database
    clock: Clock
    timezone: ZoneInfo
    actor: str
    id: str
    limit_s: float

    async def run(self) -> Verdict:
        """Hold the drill and record its verdict.

        Raises:
            IllegalMove: one is under way, or a person has killed the canary.
            StoreUnavailable: the store failed; the drill is recorded as failed by the next one.
        """
        begun = await self.database.write(_begin, self._origin(), self.timezone)
        if isinstance(begun, Verdict):
            return begun
        verdict = self._verdict(passed=False, what="it was interrupted")
        try:
            verdict = await self._rehearse(begun.number)
        except _Failed as failed:
            verdict = self._verdict(passed=False, what=str(failed))
        finally:
            with anyio.CancelScope(shield=True):
                await self.database.write(_finish, verdict, self._origin(), self.timezone)
        return verdict

    async def _rehearse(self, after: int) -> Verdict:
        tick = await self._wait_for_flight(after)
        await anyio.sleep(_FLIGHT_S)
        began_s = self.clock.monotonic()
        await self.database.write(_engage, self._origin("kill"), self.timezone)
        quiet_s = await self._wait_for_end(tick, began_s)
        await self._wait_for_gate(tick)
        what = (
            f"work in flight was quiet {quiet_s:.3f} s after the kill, {self.limit_s:g} s are"
            " allowed; its hold ended with it, and the gate kept it down"
        )
        return self._verdict(passed=True, measured_s=quiet_s, what=what)

    async def _wait_for_flight(self, after: int) -> int:
        deadline_s = self.clock.monotonic() + _START_MAX_S
        while self.clock.monotonic() < deadline_s:
            for tick in await self.database.read(_ticks, after):
                if tick.outcome is None:
                    return tick.number
                why = f": {tick.why}" if tick.why else ""
                raise _Failed(f"the canary did not fly: its tick ended {tick.outcome}{why}")
            await anyio.sleep(_POLL_S)
        raise _Failed(f"no daemon has begun the canary's tick within {_START_MAX_S:g} s")

    async def _wait_for_end(self, number: int, began_s: float) -> float:
        """Return the seconds from the kill to the tick's recorded end."""
        while True:
            tick = await self._tick(number)
            taken_s = self.clock.monotonic() - began_s
            if tick is not None and tick.outcome is not None:
                break
            if taken_s > self.limit_s + _WATCHED_S:
                raise _Failed(
                    f"the canary was still at work {taken_s:.1f} s after the kill, {self.limit_s:g}"
                    " s are allowed: it swallows its cancellation, or the event loop is blocked"
                )
            await anyio.sleep(_POLL_S)
        if tick.outcome != "cancelled":
            raise _Failed(f"the canary was not cancelled: its tick ended {tick.outcome}")
        if taken_s > self.limit_s:
            raise _Failed(
                f"the canary was quiet only {taken_s:.3f} s after the kill, {self.limit_s:g} s are"
                " allowed: it is slow to take its cancellation, or the event loop or disk is busy"
            )
        holds = await self.database.read(_holds, number)
        if holds.left_open:
            raise _Failed(f"the canary has ended, and {holds.left_open} of its holds are open")
        return round(taken_s, 6)

    async def _wait_for_gate(self, number: int) -> None:
        deadline_s = self.clock.monotonic() + _WATCHED_S
        while self.clock.monotonic() < deadline_s:
            tick = await self._tick(number + 1)
            if tick is not None:
                if tick.outcome == "skipped":
                    return
                raise _Failed("under its kill the canary was let through the gates again")
            await anyio.sleep(_POLL_S)
        raise _Failed("the daemon did not try the canary against the gates again")

    async def _tick(self, number: int) -> _Tick | None:
        ticks = await self.database.read(_ticks, number - 1)
        return next((tick for tick in ticks if tick.number == number), None)

    def _verdict(self, *, passed: bool, what: str, measured_s: float = 0.0) -> Verdict:
        return Verdict(
            drill=Drill.KILL, id=self.id, passed=passed, measured_s=measured_s, what=what
        )

    def _origin(self, part: str = "") -> Origin:
        command_id = f"{self.id}/{part}" if part else self.id
        return Origin(at=self.clock.now(), actor=self.actor, command_id=command_id)


def _begin(tx: Transaction, origin: Origin, timezone: ZoneInfo) -> _Number | Verdict:
    """Ask for the drill, and return the canary's last tick so far, or the verdict of before."""
    latch = drills.canary_latch(tx)
    if latch is not None and not latch.why.startswith(KILL_WHY):
        raise IllegalMove(
            subject=f"drill {Drill.KILL}",
            what=f"its canary was killed by {latch.actor}: {latch.why}",
            fix=f"`supervisor release --worker {CANARY} --why TEXT` lets it fly again",
        )
    verdict = drills.begin(tx, Drill.KILL, origin, timezone)
    if verdict is not None:
        return verdict
    if latch is not None:
        _release(tx, origin, timezone, why="left by a drill that was interrupted")
    last = tx.row("rehearsals.last_tick", _Number, worker=CANARY)
    return last or _Number(number=0)


def _engage(tx: Transaction, origin: Origin, timezone: ZoneInfo) -> None:
    why = f"{KILL_WHY}{origin.command_id.partition('/')[0]}"
    kill_switch.engage(tx, KillCommand(scope=CANARY_SCOPE, why=why), origin, timezone)


def _finish(tx: Transaction, verdict: Verdict, origin: Origin, timezone: ZoneInfo) -> None:
    """Record the verdict and release the canary, in one transaction."""
    drills.finish(tx, verdict, origin, timezone)
    latch = drills.canary_latch(tx)
    if latch is not None and latch.why.startswith(KILL_WHY):
        _release(tx, origin, timezone, why="the drill is over")


def _release(tx: Transaction, origin: Origin, timezone: ZoneInfo, *, why: str) -> None:
    command = KillCommand(scope=CANARY_SCOPE, why=why)
    releasing = msgspec.structs.replace(origin, command_id=f"{origin.command_id}/{why[:4]}")
    kill_switch.release(tx, command, releasing, timezone)


def _ticks(tx: Transaction, after: int) -> list[_Tick]:
    return tx.rows("rehearsals.ticks_of", _Tick, worker=CANARY, after=after)


def _holds(tx: Transaction, number: int) -> _Holds:
    found = tx.row("rehearsals.holds_of", _Holds, worker=CANARY, tick=number)
    assert found is not None, "a count always has a row"
    return found
