"""Many seeds at once, each in a process of its own turn."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from supervisor.config import NothingMissing, load
from supervisor.simulation.scorecard import Scorecard
from supervisor.simulation.world import Settings, simulate


def simulate_seeds(
    path: Path, settings: Settings, seeds: Sequence[int], *, processes: int | None = None
) -> Iterator[Scorecard]:
    """Simulate the config for every seed and yield the scorecards in the order of the seeds.

    Raises:
        ConfigError: the config can't be used.
    """
    every = [msgspec.structs.replace(settings, seed=seed) for seed in seeds]
    count = min(processes or os.cpu_count() or 1, len(every))
    if count == 1:
        yield from (_simulate(path, one) for one in every)
        return
    # Spawned, not forked: a child must not take over what a parent's threads hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent) as pool:
        yield from pool.map(partial(_simulate, path), every)


def _end_with_parent() -> None:
    """Let this process end when the one that asked for it does, also by kill -9."""
    threading.Thread(target=_await_parents_end, daemon=True).start()


def _await_parents_end() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a child has this thread"
    parent.join()
    os._exit(1)


def _simulate(path: Path, settings: Settings) -> Scorecard:
    # Without secrets, as no call leaves the process.
    return simulate(load(path, NothingMissing()), settings)
