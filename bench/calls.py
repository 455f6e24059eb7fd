"""What reserve and settle add to a model call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio

from bench.figures import Figure, Goal, crew, percentile
from bench.governed import MODEL, Governed, governed
from bench.site import Site
from supervisor.outcome import Outcome
from supervisor.providers.provider import Message, ModelRequest
from supervisor.worker.plan import WorkerPlan
from supervisor.worker.tick import run_tick

if TYPE_CHECKING:
    from supervisor import Context

TITLE = "added to a call by reserve + settle"
GOALS = {1: Goal(target=2, aim=1), 32: Goal(target=4, aim=2)}

#: How many calls each of so many callers makes.
_CALLS = {1: 1000, 32: 100, 256: 20}
_CALLS_QUICK = {1: 50, 32: 5, 256: 2}
_PROMPT = "How much is the fish?"
_TOKENS = 64

_Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    callers: int
    calls: int
    is_flushed: bool

    @property
    def text(self) -> str:
        callers = crew(self.callers, "caller")
        return f"{callers}, each settlement awaited" if self.is_flushed else callers


def measure(site: Site) -> tuple[Figure, ...]:
    """Call a scripted model that answers at once, call after call, from 1, 32 and 256 workers.

    The provider's own time, measured in the same way without the ledger, is taken off.
    """
    return anyio.run(_measure, site)


async def _measure(site: Site) -> tuple[Figure, ...]:
    figures: list[Figure] = []
    calls_by_crew = site.pick(_CALLS, _CALLS_QUICK)
    names = [f"w{number}" for number in range(max(calls_by_crew))]
    async with governed(site.folder, names, url=site.stores.make()) as governing:
        for callers, calls in calls_by_crew.items():
            # Every worker's session and accounts are opened before the clock runs.
            await _spans_ms(governing, names, _Case(callers=callers, calls=1, is_flushed=True))
            for is_flushed in (False, True):
                case = _Case(callers=callers, calls=calls, is_flushed=is_flushed)
                spans_ms = await _spans_ms(governing, names, case)
                figures += _figures(case, spans_ms, await _provider_ms(governing, case))
    return tuple(figures)


def _figures(case: _Case, spans_ms: list[float], own_ms: float) -> list[Figure]:
    goal = GOALS.get(case.callers)
    added_ms = statistics.median(spans_ms) - own_ms
    worst_ms = percentile(spans_ms, 0.99) - own_ms
    count = len(spans_ms)
    return [
        _figure(f"{case.text}, p50", added_ms, count, goal),
        _figure(f"{case.text}, p99", worst_ms, count, None),
    ]


def _figure(what: str, value_ms: float, samples: int, goal: Goal | None) -> Figure:
    return Figure(what=what, value=round(value_ms, 3), unit="ms", samples=samples, goal=goal)


async def _spans_ms(governing: Governed, names: list[str], case: _Case) -> list[float]:
    """Return how long each call took, made by one tick of each worker, all at the same time."""
    spans_ms: list[float] = []

    async def work(ctx: Context) -> None:
        async def call() -> None:
            await ctx.model.complete(_PROMPT, max_tokens=_TOKENS)
            if case.is_flushed:
                await ctx.calls.flush()

        await _time_calls(call, case.calls, spans_ms)

    async with anyio.create_task_group() as tasks:
        for plan in governing.plans(names[: case.callers], work):
            tasks.start_soon(_tick, governing, plan)
    return spans_ms


async def _tick(governing: Governed, plan: WorkerPlan) -> None:
    end = await run_tick(governing.kernel, plan)
    assert end.outcome is Outcome.OK, f"a tick of {plan.name} ended {end}"


async def _provider_ms(governing: Governed, case: _Case) -> float:
    """Return the provider's own median, called as often by as many at once."""
    model = governing.kernel.models.resolve(MODEL, governing.kernel.clock.now())
    messages = (Message(role="user", content=_PROMPT),)
    request = ModelRequest(model=model.name, messages=messages, max_tokens=_TOKENS)
    spans_ms: list[float] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(case.callers):
            call = partial(model.provider.complete, request)
            tasks.start_soon(_time_calls, call, case.calls, spans_ms)
    return statistics.median(spans_ms)


async def _time_calls(call: _Call, times: int, spans_ms: list[float]) -> None:
    for _ in range(times):
        before_s = time.perf_counter()
        await call()
        spans_ms.append((time.perf_counter() - before_s) * 1000)
