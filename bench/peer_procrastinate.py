"""procrastinate, as `bench/peers.py` runs it: with the Python of an environment that has it.

Each job is deferred by a transaction of its own, at the server's `synchronous_commit`, which is
on unless somebody has changed it. Its state is kept, as ours is.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import procrastinate

_DRAIN_S = 240.0
_POOL = 20


def _opened(url: str) -> Any:
    logging.disable(logging.CRITICAL)
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=_POOL, max_size=_POOL)
    return procrastinate.App(connector=connector)


async def rates(url: str, crew: int, span_s: float) -> dict[str, float]:
    """Enqueue by `crew` tasks, then do it all with a worker of that concurrency."""
    app = _opened(url)

    async def work(number: int) -> None:
        pass

    job = app.task(name="work")(work)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        before_s = time.perf_counter()
        done = await asyncio.gather(
            *(_defer_until(job.defer_async, before_s + span_s) for _ in range(crew))
        )
        enqueued_s = time.perf_counter() - before_s
        before_s = time.perf_counter()
        await asyncio.wait_for(
            app.run_worker_async(concurrency=crew, wait=False, install_signal_handlers=False),
            _DRAIN_S,
        )
        executed_s = time.perf_counter() - before_s
        left = [one async for one in _not_done(app)]
        assert not left, f"{len(left)} jobs are not done"
    jobs = sum(done)
    return {"enqueued": jobs / enqueued_s, "executed": jobs / executed_s}


async def _not_done(app: Any) -> Any:
    for one in await app.job_manager.list_jobs_async():
        if one.status != "succeeded":
            yield one


async def _defer_until(defer: Callable[..., Awaitable[object]], end_s: float) -> int:
    number = 0
    while time.perf_counter() < end_s:
        await defer(number=number)
        number += 1
    return number


async def starts(url: str, jobs: int, pause_s: float) -> dict[str, list[float]]:
    """Enqueue for an idle worker, which is told by NOTIFY."""
    app = _opened(url)
    spans_ms: list[float] = []
    is_done = asyncio.Event()

    async def work(began_s: float) -> None:
        spans_ms.append((time.perf_counter() - began_s) * 1000)
        is_done.set()

    job = app.task(name="work")(work)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(app.run_worker_async(install_signal_handlers=False))
        await asyncio.sleep(1.0)
        for _ in range(jobs):
            await asyncio.sleep(pause_s)
            is_done.clear()
            await job.defer_async(began_s=time.perf_counter())
            await asyncio.wait_for(is_done.wait(), _DRAIN_S)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return {"spans_ms": spans_ms}


if __name__ == "__main__":
    what, store, first, second = sys.argv[1:]
    told = asyncio.run({"rates": rates, "starts": starts}[what](store, int(first), float(second)))
    print(json.dumps(told), flush=True)
