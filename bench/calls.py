"""What reserve and settle add to a model call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from bench.figures import Figure, Goal, percentile
from bench.governed import MODEL, Governed, governed
from supervisor.outcome import Outcome
from supervisor.providers.provider import Message, ModelRequest
from supervisor.worker.plan import WorkerPlan
from supervisor.worker.tick import run_tick

if TYPE_CHECKING:
    from supervisor import Context

TITLE = "added to a call by reserve + settle"
ONE_GOAL = Goal(target=2, aim=1)
CREW_GOAL = Goal(target=4, aim=2)

_CREW = 32
_CALLS = {1: 1000, _CREW: 100}
_PROMPT = "How much is the fish?"
_TOKENS = 64

_Call = Callable[[], Awaitable[object]]


def measure(folder: Path) -> tuple[Figure, ...]:
    """Call a scripted model that answers at once, call after call, from 1 and from 32 workers.

    The provider's own time, measured in the same way without the ledger, is taken off.
    """
    return anyio.run(_measure, folder)


async def _measure(folder: Path) -> tuple[Figure, ...]:
    figures: list[Figure] = []
    names = [f"w{number}" for number in range(_CREW)]
    async with governed(folder, names) as governing:
        for crew, goal in ((1, ONE_GOAL), (_CREW, CREW_GOAL)):
            for is_flushed in (False, True):
                spans_ms = await _spans_ms(governing, names[:crew], is_flushed=is_flushed)
                own_ms = await _provider_ms(governing, crew)
                figures += _figures(crew, spans_ms, own_ms, goal, is_flushed=is_flushed)
    return tuple(figures)


def _figures(
    crew: int, spans_ms: list[float], own_ms: float, goal: Goal, *, is_flushed: bool
) -> list[Figure]:
    callers = "1 caller" if crew == 1 else f"{crew} callers"
    case = f"{callers}, each settlement awaited" if is_flushed else callers
    added_ms = statistics.median(spans_ms) - own_ms
    worst_ms = percentile(spans_ms, 0.99) - own_ms
    count = len(spans_ms)
    return [
        Figure(what=f"{case}, p50", value=round(added_ms, 3), unit="ms", samples=count, goal=goal),
        Figure(what=f"{case}, p99", value=round(worst_ms, 3), unit="ms", samples=count),
    ]


async def _spans_ms(governing: Governed, names: list[str], *, is_flushed: bool) -> list[float]:
    """Return how long each call took, made by one tick of each worker, all at the same time."""
    spans_ms: list[float] = []

    async def work(ctx: Context) -> None:
        async def call() -> None:
            await ctx.model.complete(_PROMPT, max_tokens=_TOKENS)
            if is_flushed:
                await ctx.calls.flush()

        await _time_calls(call, _CALLS[len(names)], spans_ms)

    async with anyio.create_task_group() as tasks:
        for plan in governing.plans(names, work):
            tasks.start_soon(_tick, governing, plan)
    return spans_ms


async def _tick(governing: Governed, plan: WorkerPlan) -> None:
    end = await run_tick(governing.kernel, plan)
    assert end.outcome is Outcome.OK, f"a tick of {plan.name} ended {end}"


async def _provider_ms(governing: Governed, crew: int) -> float:
    """Return the provider's own median, called as often by as many at once."""
    model = governing.kernel.models.resolve(MODEL, governing.kernel.clock.now())
    messages = (Message(role="user", content=_PROMPT),)
    request = ModelRequest(model=model.name, messages=messages, max_tokens=_TOKENS)
    spans_ms: list[float] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(crew):
            call = partial(model.provider.complete, request)
            tasks.start_soon(_time_calls, call, _CALLS[crew], spans_ms)
    return statistics.median(spans_ms)


async def _time_calls(call: _Call, times: int, spans_ms: list[float]) -> None:
    for _ in range(times):
        before_s = time.perf_counter()
        await call()
        spans_ms.append((time.perf_counter() - before_s) * 1000)
