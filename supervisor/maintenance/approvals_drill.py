"""Rehearsing the sweep of approvals: the running daemon's has to clear a backlog in its time."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import anyio

from supervisor.clock import Clock
from supervisor.events.log import Origin
from supervisor.governance import drills
from supervisor.governance.drills import Drill, Verdict
from supervisor.storage.database import Database

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalsDrill:
    """One drill, asked for through the store; the daemon's next sweep carries it out.

    Written only by `run`. `limit_s` is what the sweep may take to come round and clear it.
    """

    database: Database
    clock: Clock
    timezone: ZoneInfo
    actor: str
    id: str
    limit_s: float

    async def run(self) -> Verdict:
        """Ask for the drill and return its verdict, which is on record.

        Raises:
            IllegalMove: one is under way.
            StoreUnavailable: the store failed; the drill is recorded as failed by the next one.
        """
        begin, finish = drills.begin, drills.finish
        done = await self.database.write(begin, Drill.APPROVALS, self._origin(), self.timezone)
        if done is not None:
            return done
        why = "it was interrupted"
        try:
            verdict = await self._wait_for_verdict()
            if verdict is not None:
                return verdict
            why = (
                f"the daemon's sweep has not come round within {self.limit_s:g} s: it does not run,"
                " or the daemon has another sweep_every_s than this config"
            )
        finally:
            with anyio.CancelScope(shield=True):
                # Of the two verdicts that there may be by now, the first stands.
                await self.database.write(finish, self._failed(why), self._origin(), self.timezone)
                stands = await self._verdict()
        assert stands is not None, f"drill {self.id} has just ended"
        return stands

    async def _wait_for_verdict(self) -> Verdict | None:
        deadline_s = self.clock.monotonic() + self.limit_s
        while self.clock.monotonic() < deadline_s:
            verdict = await self._verdict()
            if verdict is not None:
                return verdict
            await anyio.sleep(_POLL_S)
        return None

    async def _verdict(self) -> Verdict | None:
        record = await self.database.read(drills.find, self.id)
        return None if record is None else record.verdict

    def _failed(self, why: str) -> Verdict:
        return Verdict(drill=Drill.APPROVALS, id=self.id, passed=False, measured_s=0.0, what=why)

    def _origin(self) -> Origin:
        return Origin(at=self.clock.now(), actor=self.actor, command_id=self.id)
