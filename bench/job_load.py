"""Queue workers in this process, woken as the daemon wakes them, and what they are given to do."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from bench.governed import Governed
from supervisor.events.job_kinds import JobCompleted
from supervisor.events.log import Recorded
from supervisor.maintenance.job_watch import JobWatch, Leases
from supervisor.outcome import Outcome
from supervisor.supervision import Intensity, Supervision
from supervisor.worker.plan import WorkerFunction
from supervisor.worker.schedule import OnQueue
from supervisor.worker.tick import run_tick
from supervisor.worker.workforce import Workforce

if TYPE_CHECKING:
    from supervisor import Context

QUEUE = "bench"
#: How many jobs a tick may leave: worker/jobs.py.
_WITH_TICK = 1_000
_INTENSITY = Intensity(restarts_max=0, window_s=60.0, delay_s=0.01, delay_max_s=1.0)
_GRACE_S = 30.0


class JobLoad:
    """One store's jobs, enqueued and done. Written only by the measurement's task."""

    def __init__(self, governing: Governed) -> None:
        self._governing = governing
        self._numbers = itertools.count()
        self._workforce = self._new_workforce()
        self._done = 0
        self._enqueued = 0
        self._changed = anyio.Event()
        kernel = governing.kernel
        kernel.database.listen(self._follow)
        self._watch = JobWatch(
            kernel.database,
            kernel.clock,
            kernel.log,
            queues=self._queues,
            arrive=self._arrive,
            leases=Leases(
                boot_id=kernel.boot_id,
                in_hand=kernel.in_hand,
                timezone=governing.loaded.timezone,
            ),
        )
        kernel.database.listen(self._watch.follow)

    def _new_workforce(self) -> Workforce:
        return Workforce(
            self._governing.kernel,
            intensity=_INTENSITY,
            grace_s=_GRACE_S,
            kill_latency_s=_GRACE_S,
            timezone=self._governing.loaded.timezone,
        )

    # The workforce is another one from round to round.
    def _queues(self) -> set[str]:
        return self._workforce.queues()

    def _arrive(self, queue: str, jobs: int) -> None:
        self._workforce.arrive(queue, jobs)

    def _follow(self, facts: Sequence[object]) -> None:
        for fact in facts:
            if isinstance(fact, Recorded) and isinstance(fact.event, JobCompleted):
                self._done += len(fact.event.jobs)
        self._changed.set()

    async def enqueue_for(self, span_s: float, names: Sequence[str]) -> float:
        """Enqueue for so long, each of these workers one job after the other; return jobs a second.

        Each job is durable before its caller goes on to the next.
        """
        before_s, before = time.perf_counter(), self._enqueued

        async def work(ctx: Context) -> None:
            while time.perf_counter() - before_s < span_s:
                await ctx.jobs.enqueue(QUEUE, {"number": next(self._numbers)})
                self._enqueued += 1

        await self._tick_all(names, work)
        return (self._enqueued - before) / (time.perf_counter() - before_s)

    async def enqueue_with_ticks(self, ticks: int, names: Sequence[str]) -> float:
        """Let ticks of these workers leave 1,000 jobs each with their end; return jobs a second."""
        before_s, before = time.perf_counter(), self._enqueued

        async def work(ctx: Context) -> None:
            for _ in range(_WITH_TICK):
                ctx.jobs.enqueue_with_tick(QUEUE, {"number": next(self._numbers)})
            self._enqueued += _WITH_TICK

        for _ in range(ticks):
            await self._tick_all(names, work)
        return (self._enqueued - before) / (time.perf_counter() - before_s)

    async def _tick_all(self, names: Sequence[str], work: WorkerFunction) -> None:
        async with anyio.create_task_group() as tasks:
            for plan in self._governing.plans(names, work):
                tasks.start_soon(self._tick, plan.name, work)

    async def _tick(self, name: str, work: WorkerFunction) -> None:
        (plan,) = self._governing.plans([name], work)
        end = await run_tick(self._governing.kernel, plan)
        assert end.outcome is Outcome.OK, f"a tick of {name} ended {end}"

    async def drain(self, names: Sequence[str]) -> float:
        """Do all that is queued with these workers; return jobs a second.

        From before the workers start until the end of the last job is durable.
        """
        before_s, before = time.perf_counter(), self._done
        async with self.working(names, _nothing):
            while self._done < self._enqueued:
                self._changed = anyio.Event()
                await self._changed.wait()
            spent_s = time.perf_counter() - before_s
        return (self._done - before) / spent_s

    async def starts_ms(self, jobs: int, pause_s: float, names: tuple[str, str]) -> list[float]:
        """Return how long after its caller began to enqueue it each job's code began.

        `names` are the caller and the worker, which has been idle for `pause_s` each time.
        """
        caller, worker = names
        began_s: dict[object, float] = {}
        spans_ms: list[float] = []

        async def begin(ctx: Context) -> None:
            now_s = time.perf_counter()
            assert ctx.job is not None
            assert isinstance(ctx.job.payload, int)
            spans_ms.append((now_s - began_s[ctx.job.payload]) * 1000)

        async def ask(ctx: Context) -> None:
            for _ in range(jobs):
                await anyio.sleep(pause_s)
                number = next(self._numbers)
                began_s[number] = time.perf_counter()
                await ctx.jobs.enqueue(QUEUE, number)
                self._enqueued += 1

        async with self.working([worker], begin):
            await self._tick_all([caller], ask)
            await anyio.sleep(pause_s)
        assert len(spans_ms) == jobs, f"{len(spans_ms)} of {jobs} jobs were begun"
        return spans_ms

    @asynccontextmanager
    async def working(self, names: Sequence[str], work: WorkerFunction) -> AsyncIterator[None]:
        """Have these workers at work on the queue while the block runs."""
        kernel = self._governing.kernel
        workforce = self._workforce = self._new_workforce()
        async with anyio.create_task_group() as tasks:
            supervision = Supervision(
                tasks, clock=kernel.clock, chance=kernel.chance, on_crash=workforce.on_crash
            )
            tasks.start_soon(self._watch.run)
            for plan in self._governing.plans(names, work):
                on_queue = replace(plan, queue=QUEUE, schedule=OnQueue(QUEUE))
                workforce.start(supervision, on_queue)
            try:
                yield
            finally:
                await workforce.stop(supervision)
                tasks.cancel_scope.cancel()


async def _nothing(_ctx: Context) -> None:
    """Do nothing: what is measured is all that is around it."""
