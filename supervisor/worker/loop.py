"""A worker's while-True loop: tick, then wait for the next."""

from __future__ import annotations

from datetime import datetime, timedelta

import anyio
import anyio.lowlevel

from supervisor.clock import from_us
from supervisor.errors import (
    BreakerOpen,
    BudgetExceeded,
    KillSwitchEngaged,
    Refusal,
    SessionNotActive,
    StoreUnavailable,
)
from supervisor.events.log import Origin
from supervisor.governance.rotation import find_session, pause_session
from supervisor.governance.session import SessionStatus
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.tick import TickEnd, run_tick

_RETRY_S = 1.0
_ON_CAP_WHY = "spend cap"


class WorkerLoop:
    """One worker's life between two crashes."""

    def __init__(self, kernel: Kernel, plan: WorkerPlan) -> None:
        self.plan = plan
        self._kernel = kernel
        self._woken = anyio.Event()
        self._is_first = True
        self._latest_due: datetime | None = None
        self._is_stopping = False
        self._is_refused = False
        self._is_called = False

    def call(self) -> None:
        """Tick now, whatever the schedule says: one of the worker's tickets was decided."""
        self._is_called = True
        self._woken.set()

    def wake(self) -> None:
        """Tick now if the wait is for something that had refused: it may be allowed by now."""
        if self._is_refused:
            self._woken.set()

    def replace(self, plan: WorkerPlan) -> None:
        """Go on with another plan; a changed schedule begins with a tick now."""
        has_new_schedule = plan.schedule != self.plan.schedule
        self.plan = plan
        if has_new_schedule:
            self._latest_due = None
            self._woken.set()
        self.wake()

    def stop(self) -> None:
        """Take no further tick."""
        self._is_stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Tick until it is stopped.

        Raises:
            WorkerCrashed: the worker raised; calling this again is its restart.
        """
        if self._is_first:
            self._is_first = False
            waits = self.plan.schedule.follows_wall_clock
            await self._wait(self._own_delay_s() if waits else 0.0)
        while not self._is_stopping:
            delay_s = await self._tick()
            await self._wait(delay_s)

    async def _tick(self) -> float:
        """Run one tick and return the seconds until the next."""
        self._is_refused = False
        is_called, self._is_called = self._is_called, False
        try:
            end = await self._run_tick(is_called=is_called)
            self._is_refused = end.refusal is not None
            # Kept until a tick has passed the gates: it is that one that learns of the decision.
            self._is_called |= is_called and end.outcome is Outcome.SKIPPED
            if end.refusal is not None:
                return await self._delay_after_refusal(end, end.refusal)
        except StoreUnavailable as error:
            # Requirement K5: what can't be read counts as engaged.
            self._is_called |= is_called
            self._kernel.log.error("store_unavailable", worker=self.plan.name, error=str(error))
            return max(_RETRY_S, self._own_delay_s())
        return self._own_delay_s()

    async def _run_tick(self, *, is_called: bool) -> TickEnd:
        return await run_tick(self._kernel, self.plan, is_called=is_called)

    def _own_delay_s(self) -> float:
        schedule, now = self.plan.schedule, self._kernel.clock.now()
        if not schedule.follows_wall_clock:
            return schedule.next_delay_s(now)
        # After the latest occurrence, also where the clock was set back before it: each runs once.
        after = max(now, self._latest_due or now)
        due = after + timedelta(seconds=schedule.next_delay_s(after))
        return (due - now).total_seconds()

    async def _delay_after_refusal(self, end: TickEnd, refusal: Refusal) -> float:
        """Return how long to wait: until what refused can have changed, or until woken."""
        match refusal:
            case BudgetExceeded():
                return await self._delay_on_cap(end, refusal)
            case BreakerOpen(retry_at=retry_at):
                return max((retry_at - self._kernel.clock.now()).total_seconds(), 0.0)
            case KillSwitchEngaged() | SessionNotActive():
                return max(self._own_delay_s(), _RETRY_S)
            case _:
                return self._own_delay_s()

    async def _delay_on_cap(self, end: TickEnd, refusal: BudgetExceeded) -> float:
        """Do as [spend] on_cap says (requirement L7).

        Only the system's own account stops the daemon: a worker that has used up its session's
        budget is no reason to stop the others.
        """
        if refusal.may_free_up:
            return self._own_delay_s()
        on_cap = self._kernel.policy.on_cap
        if on_cap == "stop" and refusal.account.startswith("system/"):
            self._kernel.request_stop(f"on_cap = stop: {refusal}")
        if on_cap == "ask" and end.session_id is not None:
            origin = Origin(at=self._kernel.clock.now(), actor="daemon")
            await self._kernel.database.write(_pause_on_cap, end.session_id, origin)
        now = self._kernel.clock.now()
        resets_at = refusal.resets_at or await self._session_end(end) or now
        return max((resets_at - now).total_seconds(), self._own_delay_s(), _RETRY_S)

    async def _session_end(self, end: TickEnd) -> datetime | None:
        session_id = end.session_id or ""
        session = await self._kernel.database.read(find_session, session_id)
        return None if session is None else from_us(session.window_end)

    async def _wait(self, delay_s: float) -> None:
        """Wait that long by the wall clock, or until woken; at least one turn of the loop."""
        clock = self._kernel.clock
        due = clock.now() + timedelta(seconds=delay_s)
        deadline_s = clock.monotonic() + delay_s
        while not self._woken.is_set():
            left_s = (due - clock.now()).total_seconds()
            if not self.plan.schedule.follows_wall_clock:
                # A span and no time of day: whichever clock says first that it is over, the wall
                # clock after a suspend, the monotonic one after the wall clock was set back.
                left_s = min(left_s, deadline_s - clock.monotonic())
            if left_s <= 0:
                self._latest_due = due
                break
            with anyio.move_on_after(min(left_s, self._kernel.wait_slice_s)):
                await self._woken.wait()
        self._woken = anyio.Event()
        await anyio.lowlevel.checkpoint()


def _pause_on_cap(tx: Transaction, session_id: str, origin: Origin) -> None:
    session = find_session(tx, session_id)
    if session is not None and session.status is SessionStatus.ACTIVE:
        pause_session(tx, session, origin, why=_ON_CAP_WHY)
