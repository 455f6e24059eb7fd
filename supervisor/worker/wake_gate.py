"""A worker's own cheap look whether there is anything to do: no tick, no model, no cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec

from supervisor.clock import Clock
from supervisor.storage.database import Transaction
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.state import DurableState, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What `has_work` is given: the worker's options and its state as it was committed last."""

    name: str
    options: Mapping[str, object]
    state: Mapping[str, Json]
    config_dir: Path
    clock: Clock


class _State(msgspec.Struct, frozen=True):
    state: str


async def has_work(kernel: Kernel, plan: WorkerPlan) -> bool:
    """Ask the worker whether there is anything to do; yes where it has nothing to say.

    What it raises, or a look that takes longer than a tick may, counts as work: the tick shows it.

    Raises:
        StoreUnavailable: its state could not be read.
    """
    if plan.has_work is None:
        return True
    glance = Glance(
        name=plan.name,
        options=plan.options,
        state=await kernel.database.read(_read_state, plan.name),
        config_dir=kernel.config_dir,
        clock=kernel.clock,
    )
    answer = True
    try:
        with anyio.move_on_after(plan.tick_timeout_s):
            answer = bool(await plan.has_work(glance))
    except Exception as error:
        kernel.log.error("has_work_raised", worker=plan.name, exc_info=error)
        answer = True
    return answer


def _read_state(tx: Transaction, worker: str) -> Mapping[str, Json]:
    row = tx.row("workers.by_name", _State, name=worker)
    return DurableState(row.state if row else "{}")
