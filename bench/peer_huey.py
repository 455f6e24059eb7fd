"""huey on SQLite, as `bench/peers.py` runs it: with the Python of an environment that has it.

`fsync=True` is SQLite's `synchronous=FULL`: an enqueued job is durable, as with ours. A job leaves
the store when a worker takes it, so that a crash loses what was in hand; no result is kept.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from huey import SqliteHuey

_DRAIN_S = 120.0


def _opened(path: str) -> Any:
    logging.disable(logging.CRITICAL)
    return SqliteHuey("bench", filename=path, fsync=True, results=False, timeout=30)


class _Count:
    """Jobs that were done; set once there are as many as were enqueued."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.done = 0
        self.wanted = -1
        self.is_complete = threading.Event()

    def add(self) -> None:
        with self._lock:
            self.done += 1
            if self.done == self.wanted:
                self.is_complete.set()


def rates(path: str, crew: int, span_s: float) -> dict[str, float]:
    """Enqueue from `crew` threads, then do it all with as many worker threads."""
    queue, count = _opened(path), _Count()
    job = queue.task()(lambda number: count.add())
    before_s = time.perf_counter()
    enqueued = sum(_together(crew, lambda: _enqueue_until(job, before_s + span_s)))
    enqueued_s = time.perf_counter() - before_s
    count.wanted = enqueued
    consumer = queue.create_consumer(workers=crew, periodic=False)
    before_s = time.perf_counter()
    consumer.start()
    assert count.is_complete.wait(_DRAIN_S), f"{count.done} of {enqueued} jobs were done"
    executed_s = time.perf_counter() - before_s
    consumer.stop()
    return {
        "enqueued": enqueued / enqueued_s,
        "executed": enqueued / executed_s,
    }


def _enqueue_until(job: Callable[[int], object], end_s: float) -> int:
    number = 0
    while time.perf_counter() < end_s:
        job(number)
        number += 1
    return number


def _together(crew: int, function: Callable[[], int]) -> list[int]:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(function()), daemon=True)
        for _ in range(crew)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def starts(path: str, jobs: int, pause_s: float) -> dict[str, list[float]]:
    """Enqueue for an idle consumer with one worker, all of its waits as it comes."""
    queue = _opened(path)
    spans_ms: list[float] = []
    is_done = threading.Event()

    def work(began_s: float) -> None:
        spans_ms.append((time.perf_counter() - began_s) * 1000)
        is_done.set()

    job = queue.task()(work)
    consumer = queue.create_consumer(workers=1, periodic=False)
    consumer.start()
    for _ in range(jobs):
        time.sleep(pause_s)
        is_done.clear()
        job(time.perf_counter())
        assert is_done.wait(_DRAIN_S), "a job did not start"
    consumer.stop()
    return {"spans_ms": spans_ms}


if __name__ == "__main__":
    what, store, first, second = sys.argv[1:]
    told = {"rates": rates, "starts": starts}[what](store, int(first), float(second))
    print(json.dumps(told), flush=True)
