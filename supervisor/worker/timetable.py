"""Which occurrence of a cron worker runs now, and which are missed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.events.log import Origin
from supervisor.worker.occurrences import (
    AHEAD_MAX,
    Claim,
    Missed,
    give_up,
    open_schedule,
    take,
)
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.schedule import Cron

#: What is later than this was not run in its time: longer than any wait oversleeps.
ON_TIME = timedelta(seconds=60)
_PAGE = 200
#: For so long each missed occurrence has a record of its own; a clock may jump by years.
_RECORDED = timedelta(days=30)
_DAY = timedelta(days=1)
#: By so much the two clocks may differ over a tick, where nobody has set one of them.
_DRIFT = timedelta(seconds=1)


class Busy(msgspec.Struct, frozen=True, kw_only=True):
    """From when to when the worker's last tick ran, and for how many seconds of its own clock."""

    began: datetime
    ended: datetime
    lasted_s: float

    def covers(self, moment: datetime) -> bool:
        """Return whether it ran at that moment, and was not asleep with its machine."""
        ran_until = self.began + timedelta(seconds=self.lasted_s) + _DRIFT
        return self.began < moment <= min(self.ended, ran_until)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done of what is due: `run` is the one that runs, None for none of them."""

    run: datetime | None
    missed: tuple[Missed, ...] = ()


def choose(
    schedule: Cron, due: list[datetime], now: datetime, busy: Busy | None, *, is_all: bool = True
) -> Choice:
    """Return what the policies say of occurrences that are due, the oldest first (pure).

    `is_all` says that no further one is due. The one that runs is the last that is looked at: what
    comes after it is looked at later.
    """
    missed: list[Missed] = []
    for number, moment in enumerate(due):
        is_last = is_all and number == len(due) - 1
        why = _why_missed(schedule, moment, now, busy, is_last=is_last)
        if not why:
            return Choice(run=moment, missed=tuple(missed))
        missed.append(Missed(due=moment, why=why))
    return Choice(run=None, missed=tuple(missed))


def _why_missed(
    schedule: Cron, moment: datetime, now: datetime, busy: Busy | None, *, is_last: bool
) -> str:
    """Return why an occurrence does not run, empty where it does."""
    if busy is not None and schedule.overlap != "cancel" and busy.covers(moment):
        if schedule.overlap == "queue" and is_last:
            return ""
        return "the tick before it still ran"
    late = now - moment
    if late <= ON_TIME + timedelta(seconds=schedule.jitter_s):
        return ""
    match schedule.missed:
        case "all":
            is_too_late = late > timedelta(seconds=schedule.lateness_max_s)
            return f"it is later than {schedule.lateness_max_s:g} s" if is_too_late else ""
        case "once":
            return "" if is_last else "a later one makes up for it"
        case _:
            return f"nobody was there to run it: it is {late.total_seconds():.0f} s late"


class Timetable:
    """The occurrences of one cron worker, each taken once, over restarts and several daemons."""

    def __init__(self, kernel: Kernel, plan: WorkerPlan, schedule: Cron) -> None:
        self._kernel = kernel
        self._worker = plan.name
        self._schedule = schedule
        self._taken: datetime | None = None

    async def open(self) -> None:
        """Look up which occurrence was taken last.

        Raises:
            StoreUnavailable: the store failed.
        """
        now = self._kernel.clock.now()
        self._taken = await self._kernel.database.write(
            open_schedule, self._worker, self._schedule.name, now
        )

    async def next_due(self) -> datetime:
        """Return when the next occurrence is due, which may be over.

        Raises:
            StoreUnavailable: the store failed.
        """
        # A clock that was set back by more than a day was wrong before: its occurrences too.
        if self._taken is None or self._taken >= self._kernel.clock.now() + AHEAD_MAX:
            await self.open()
        assert self._taken is not None, "it was just opened"
        return self._delayed(self._schedule.next_after(self._taken))

    def _delayed(self, due: datetime) -> datetime:
        """Return an occurrence's own moment within the jitter: the same at each look."""
        if not self._schedule.jitter_s:
            return due
        digest = hashlib.sha256(f"{self._worker} {to_us(due)}".encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        return due + timedelta(seconds=share * self._schedule.jitter_s)

    async def take_due(self, busy: Busy | None) -> Claim | None:
        """Record what was missed, and return the claim on what runs now, None for nothing.

        Raises:
            StoreUnavailable: the store failed; what was recorded stays recorded.
        """
        await self.next_due()
        while True:
            now = self._kernel.clock.now()
            assert self._taken is not None, "it was opened"
            if now - self._taken > _RECORDED + _DAY:
                await self._give_up(self._long_ago(self._taken, now - _RECORDED))
                continue
            due = list(self._due(self._taken, now))
            if not due:
                return None
            is_all = len(due) <= _PAGE
            choice = choose(self._schedule, due[:_PAGE], now, busy, is_all=is_all)
            if choice.missed and not await self._give_up(choice):
                continue
            if choice.run is not None:
                return self._claim(choice.run)

    async def _give_up(self, choice: Choice) -> bool:
        last = choice.missed[-1].due
        is_mine = await self._kernel.database.write(
            give_up,
            self._worker,
            self._claim(last),
            choice.missed,
            Origin(at=self._kernel.clock.now(), actor=f"worker:{self._worker}"),
            self._kernel.policy.budgets.timezone,
        )
        if is_mine:
            self._taken = last
        else:
            await self.open()
        return is_mine

    def _long_ago(self, since: datetime, until: datetime) -> Choice:
        """Give up all at once what is older than anybody will look through."""
        why = f"nobody was there to run it, nor any other since {iso(since)}"
        return Choice(run=None, missed=(Missed(due=until, why=why),))

    def _claim(self, due: datetime) -> Claim:
        assert self._taken is not None, "it was opened"
        return Claim(schedule=self._schedule.name, before=to_us(self._taken), due=to_us(due))

    async def pass_over(self, claim: Claim) -> None:
        """Take an occurrence for which there is nothing to do; nothing is recorded of it.

        Raises:
            StoreUnavailable: the store failed.
        """
        if await self._kernel.database.write(take, self._worker, claim):
            self._taken = from_us(claim.due)
        else:
            await self.open()

    def note_taken(self, claim: Claim) -> None:
        """Go on after an occurrence that was taken."""
        self._taken = from_us(claim.due)

    def cancel_at(self, claim: Claim | None) -> datetime | None:
        """Return when the tick that runs for `claim` is cancelled for the next occurrence."""
        if claim is None or self._schedule.overlap != "cancel":
            return None
        return self._delayed(self._schedule.next_after(from_us(claim.due)))

    def _due(self, taken: datetime, now: datetime) -> Iterator[datetime]:
        """Yield what is due by now, the oldest first; a page of it, and one more."""
        moment = taken
        for _ in range(_PAGE + 1):
            moment = self._schedule.next_after(moment)
            if self._delayed(moment) > now:
                return
            yield moment
