"""A worker's while-True loop: tick, then wait for the next."""

from __future__ import annotations

from datetime import datetime, timedelta

import anyio
import anyio.lowlevel

from supervisor.clock import from_us
from supervisor.errors import (
    ActionDenied,
    ApprovalRequired,
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
from supervisor.worker.occurrences import AHEAD_MAX
from supervisor.worker.plan import Kernel, Schedule, WorkerPlan
from supervisor.worker.schedule import Cron
from supervisor.worker.tick import Occasion, TickEnd, run_tick
from supervisor.worker.timetable import Busy, Timetable
from supervisor.worker.wake_gate import has_work

_RETRY_S = 1.0
#: What a ticket's decision or another policy changes, and no gate.
_OF_ACTIONS = (ActionDenied, ApprovalRequired)
_ON_CAP_WHY = "spend cap"


class WorkerLoop:
    """One worker's life between two crashes."""

    def __init__(self, kernel: Kernel, plan: WorkerPlan) -> None:
        self.plan = plan
        self._kernel = kernel
        self._woken = anyio.Event()
        self._is_first = True
        self._timetable = self._open_timetable()
        self._busy: Busy | None = None
        self._is_due = False
        self._is_stopping = False
        self._refusal: Refusal | None = None
        self._is_called = False

    def call(self) -> None:
        """Tick now, whatever the schedule says: one of the worker's tickets was decided."""
        self._is_called = True
        self._woken.set()

    def wake(self) -> None:
        """Tick now if the wait is for a gate that had refused: it may let the worker through now.

        Not where an action was refused: the decision on it calls the worker, and nothing else that
        anybody commits changes it.
        """
        if self._refusal is not None and not isinstance(self._refusal, _OF_ACTIONS):
            self._woken.set()

    def replace(self, plan: WorkerPlan) -> None:
        """Go on with another plan; a changed schedule begins with a tick now."""
        before, self.plan = self.plan.schedule, plan
        if plan.schedule != before:
            self._timetable = self._open_timetable()
            if not _has_same_occurrences(before, plan.schedule):
                self._is_due = False
                self._woken.set()
        if self._refusal is not None:
            self._woken.set()

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
            await self._wait_for_the_first()
        while not self._is_stopping:
            delay_s = await self._tick()
            await self._wait(delay_s)

    def _open_timetable(self) -> Timetable | None:
        schedule = self.plan.schedule
        return Timetable(self._kernel, self.plan, schedule) if isinstance(schedule, Cron) else None

    async def _wait_for_the_first(self) -> None:
        """Wait for the first occurrence of a cron expression; a span begins with a tick."""
        if self._timetable is None:
            await self._wait(0.0)
            return
        while not self._is_stopping:
            try:
                await self._wait(await self._own_delay_s())
            except StoreUnavailable as error:
                self._say_unavailable(error)
                await self._wait(_RETRY_S)
            else:
                return

    async def _tick(self) -> float:
        """Run one tick and return the seconds until the next."""
        self._refusal = None
        is_called, self._is_called = self._is_called, False
        try:
            end = await self._tick_if_due(is_called=is_called)
            self._refusal = None if end is None else end.refusal
            # Kept until a tick has passed the gates: it is that one that learns of the decision.
            self._is_called |= is_called and end is not None and end.outcome is Outcome.SKIPPED
            if end is not None and end.refusal is not None:
                return await self._delay_after_refusal(end, end.refusal)
            return await self._own_delay_s()
        except StoreUnavailable as error:
            # Requirement K5: what can't be read counts as engaged.
            self._is_called |= is_called
            self._say_unavailable(error)
            span_s = 0.0 if self._timetable else self.plan.schedule.next_delay_s(self._now)
            return max(_RETRY_S, span_s)

    async def _tick_if_due(self, *, is_called: bool) -> TickEnd | None:
        """Tick, for the occurrence that is due where it comes for one; None where none is."""
        is_due, self._is_due = self._is_due, False
        timetable = self._timetable
        if timetable is None or not is_due:
            may_tick = is_called or await has_work(self._kernel, self.plan)
            return await self._run(Occasion(is_called=is_called)) if may_tick else None
        # Due until it was taken, or given up: a store that does not answer takes none.
        self._is_due = True
        claim = await timetable.take_due(self._busy)
        self._busy = None
        if claim is None and not is_called:
            self._is_due = False
            return None
        if claim is not None and not is_called and not await has_work(self._kernel, self.plan):
            await timetable.pass_over(claim)
            self._is_due = False
            return None
        cancel_at = timetable.cancel_at(claim)
        end = await self._run(Occasion(is_called=is_called, claim=claim, cancel_at=cancel_at))
        self._is_due = False
        if end.is_elsewhere:
            await timetable.open()
        elif claim is not None:
            timetable.note_taken(claim)
        return end

    async def _run(self, occasion: Occasion) -> TickEnd:
        began, began_s = self._now, self._kernel.clock.monotonic()
        try:
            return await run_tick(self._kernel, self.plan, occasion)
        finally:
            lasted_s = self._kernel.clock.monotonic() - began_s
            self._busy = Busy(began=began, ended=self._now, lasted_s=lasted_s)

    @property
    def _now(self) -> datetime:
        return self._kernel.clock.now()

    def _say_unavailable(self, error: StoreUnavailable) -> None:
        self._kernel.log.error("store_unavailable", worker=self.plan.name, error=str(error))

    async def _own_delay_s(self) -> float:
        if self._timetable is None:
            return self.plan.schedule.next_delay_s(self._now)
        return (await self._timetable.next_due() - self._now).total_seconds()

    async def _delay_after_refusal(self, end: TickEnd, refusal: Refusal) -> float:
        """Return how long to wait: until what refused can have changed, or until woken."""
        match refusal:
            case BudgetExceeded():
                return await self._delay_on_cap(end, refusal)
            case BreakerOpen(retry_at=retry_at):
                return max((retry_at - self._kernel.clock.now()).total_seconds(), 0.0)
            case KillSwitchEngaged() | SessionNotActive():
                return max(await self._own_delay_s(), _RETRY_S)
            case _:
                return await self._own_delay_s()

    async def _delay_on_cap(self, end: TickEnd, refusal: BudgetExceeded) -> float:
        """Do as [spend] on_cap says (requirement L7).

        Only the system's own account stops the daemon: a worker that has used up its session's
        budget is no reason to stop the others.
        """
        if refusal.may_free_up:
            return await self._own_delay_s()
        on_cap = self._kernel.policy.on_cap
        if on_cap == "stop" and refusal.account.startswith("system/"):
            self._kernel.request_stop(f"on_cap = stop: {refusal}")
        if on_cap == "ask" and end.session_id is not None:
            origin = Origin(at=self._kernel.clock.now(), actor="daemon")
            await self._kernel.database.write(_pause_on_cap, end.session_id, origin)
        now = self._kernel.clock.now()
        resets_at = refusal.resets_at or await self._session_end(end) or now
        return max((resets_at - now).total_seconds(), await self._own_delay_s(), _RETRY_S)

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
            elif left_s > delay_s + AHEAD_MAX.total_seconds():
                # The clock was set back by more than a day: another look says what is next now.
                left_s = 0.0
            if left_s <= 0:
                self._is_due = True
                break
            with anyio.move_on_after(min(left_s, self._kernel.wait_slice_s)):
                await self._woken.wait()
        self._woken = anyio.Event()
        await anyio.lowlevel.checkpoint()


def _has_same_occurrences(one: Schedule, other: Schedule) -> bool:
    return isinstance(one, Cron) and isinstance(other, Cron) and one.name == other.name


def _pause_on_cap(tx: Transaction, session_id: str, origin: Origin) -> None:
    session = find_session(tx, session_id)
    if session is not None and session.status is SessionStatus.ACTIVE:
        pause_session(tx, session, origin, why=_ON_CAP_WHY)
