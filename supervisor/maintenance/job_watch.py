"""Looking after queues: jobs that are due wake workers, jobs of who is silent are taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import anyio
from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock, to_us
from supervisor.errors import StoreUnavailable
from supervisor.events import job_kinds
from supervisor.events.log import Origin, Recorded
from supervisor.jobs.endings import Held, find_claim
from supervisor.jobs.leases import InHand, LeaseWatch, cancels_asked, claims_of_others
from supervisor.jobs.queue import next_due
from supervisor.maintenance.recovery import recover_claim
from supervisor.storage.database import Database, Transaction

#: How long nothing need be heard before the queues are looked at all the same.
_LOOK_EVERY_S = 5.0
_RETRY_S = 1.0
_ANY_NUMBER = 1_000_000
#: At the most often, whatever is heard.
_PAUSE_S = 0.05
#: How often while others have jobs in hand, and then when the first of their leases is over: a
#: renewal is seen half a second late at most, so that a dead one's jobs are taken within a second.
_OTHERS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """Whose claims are this life's own, and where those that end are recorded.

    `on_taken` is told when jobs were taken from a silent one: it may have left more behind.
    """

    boot_id: str
    in_hand: InHand
    timezone: ZoneInfo
    on_taken: Callable[[], None] = lambda: None


class JobWatch:
    """Follows commits of this process at once, those of others when it is told to look.

    Written only by the store's commits (`follow`), and by its own task.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        queues: Callable[[], Collection[str]],
        arrive: Callable[[str, int], None],
        leases: Leases,
    ) -> None:
        """`arrive` is told of a queue and of how many jobs have come into it."""
        self._leases = leases
        self._watch = LeaseWatch()
        self._database = database
        self._clock = clock
        self._log = log
        self._queues = queues
        self._arrive = arrive
        self._asked = anyio.Event()
        # Another process's job comes at once where its commit is heard; else `look` is told.
        database.heed(self.look)

    def follow(self, facts: Sequence[object]) -> None:
        """Wake workers for what one commit has put into a queue and left there."""
        arrived: dict[str, str] = {}
        for fact in facts:
            if isinstance(fact, Recorded):
                self._follow(fact, arrived)
        for queue, jobs in Counter(arrived.values()).items():
            self._arrive(queue, jobs)

    def _follow(self, fact: Recorded, arrived: dict[str, str]) -> None:
        """Note the queues of jobs that are due, by the ids of the jobs."""
        event = fact.event
        match event:
            case job_kinds.JobEnqueued(run_at=run_at) | job_kinds.JobRetried(run_at=run_at):
                if run_at > to_us(fact.origin.at):
                    self._asked.set()
                else:
                    arrived[event.job] = event.queue
            case job_kinds.JobGivenBack(run_at=run_at):
                if run_at > to_us(fact.origin.at):
                    self._asked.set()
                else:
                    arrived.update(dict.fromkeys(event.jobs, event.queue))
            case job_kinds.JobRequeued():
                arrived[event.job] = event.queue
            case job_kinds.JobClaimed():
                # A worker that has expected it took it in the same commit: jobs/idle.py.
                for job in event.jobs:
                    arrived.pop(job, None)
            case _:
                return

    def look(self) -> None:
        """Look at the queues now: another process has committed."""
        self._asked.set()

    async def run(self) -> None:
        """Wake workers when jobs are due, until cancelled."""
        while True:
            self._asked = anyio.Event()
            looked_s = self._clock.monotonic()
            delay_s = await self._look()
            with anyio.move_on_after(delay_s):
                await self._asked.wait()
            # Whoever else is busy may commit a thousand times a second.
            left_s = looked_s + _PAUSE_S - self._clock.monotonic()
            await anyio.sleep(max(left_s, 0.0))

    async def _look(self) -> float:
        """Wake the workers of queues with due jobs, and return the seconds until the next look."""
        queues = sorted(self._queues())
        if not queues:
            return _LOOK_EVERY_S
        try:
            due = await self._database.read(_due, queues)
            delay_s = await self._look_at_claims()
        except StoreUnavailable as error:
            self._log.error("queues_not_read", error=str(error))
            return _RETRY_S
        now = to_us(self._clock.now())
        for queue, at in due.items():
            if at <= now:
                self._arrive(queue, _ANY_NUMBER)
            else:
                delay_s = min(delay_s, (at - now) / 1e6)
        return delay_s

    async def _look_at_claims(self) -> float:
        """Take away what others hold in silence, and tell our own ticks whose jobs shall end."""
        leases = self._leases
        if leases.in_hand.tokens():
            for asked in await self._database.read(cancels_asked, leases.boot_id):
                leases.in_hand.cancel(asked)
        claims = await self._database.read(claims_of_others, leases.boot_id)
        now_s = self._clock.monotonic()
        for held in self._watch.expired(claims, now_s):
            origin = Origin(at=self._clock.now(), actor="recovery")
            await self._database.write(_take_silent, held, origin, leases.timezone)
            leases.on_taken()
        if not claims:
            return _LOOK_EVERY_S
        return min(_OTHERS_EVERY_S, self._watch.next_end_s(claims, now_s))


def _take_silent(tx: Transaction, held: Held, origin: Origin, timezone: ZoneInfo) -> None:
    # It may have been renewed, or have ended, since it was looked at.
    if find_claim(tx, held.token) == held:
        recover_claim(tx, held, origin, timezone)


def _due(tx: Transaction, queues: Sequence[str]) -> dict[str, int]:
    found = {queue: next_due(tx, queue) for queue in queues}
    return {queue: at for queue, at in found.items() if at is not None}
