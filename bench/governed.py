"""The product's own parts in this process: a real store on disk and a real kernel."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.daemons import write_config
from supervisor.assembly import build_models, build_policy
from supervisor.clock import Clock, SystemClock, to_us
from supervisor.config import Loaded, load
from supervisor.event_lines import EventLines
from supervisor.events.log import Origin
from supervisor.garbage import spare_what_stays
from supervisor.governance.rotation import SessionPlan
from supervisor.ids import RandomIds
from supervisor.lifecycle import Life, begin_life
from supervisor.logs import open_log
from supervisor.maintenance.vitals import Vitals
from supervisor.metrics import Metrics
from supervisor.storage.open import open_database
from supervisor.windows import parse_window
from supervisor.worker.plan import Kernel, WorkerFunction, WorkerPlan
from supervisor.worker.schedule import Every

MODEL = "quick/any"

_SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Governed:
    """A kernel, and a plan for each worker's name."""

    kernel: Kernel
    loaded: Loaded

    def plans(self, names: Sequence[str], function: WorkerFunction) -> list[WorkerPlan]:
        """Return plans such as the daemon makes of its config."""
        config = self.loaded.config
        span_s = parse_window(config.session.window)
        return [
            WorkerPlan(
                name=name,
                function=function,
                schedule=Every(1.0),
                session=SessionPlan(worker=name, span_s=span_s, timezone=self.loaded.timezone),
                tick_timeout_s=120.0,
                checkpoint_every=config.session.checkpoint_every,
                model=MODEL,
                options={},
            )
            for name in names
        ]


@asynccontextmanager
async def governed(
    folder: Path, names: Sequence[str], *, url: str, clock: Clock = _SYSTEM_CLOCK
) -> AsyncIterator[Governed]:
    """Open the store at `url` with these workers registered, listened to as in the daemon."""
    loaded = load(write_config(folder, [], log_level="warning"))
    loaded.state_dir.mkdir(exist_ok=True)
    log = open_log(loaded.config.log, state_dir=loaded.state_dir)
    now_us = to_us(clock.now())
    database = await open_database(url, state_dir=loaded.state_dir, now_us=now_us)
    vitals = Vitals(dict.fromkeys(names, 120.0), clock)
    for listener in (Metrics(version="").follow, vitals.follow, EventLines(log)):
        database.listen(listener)
    life = Life(boot_id=RandomIds().new("boot"), pid=0, host="", version="")
    kernel = Kernel(
        boot_id=life.boot_id,
        database=database,
        clock=clock,
        chance=random.Random(),
        models=build_models(loaded),
        policy=build_policy(loaded),
        config_dir=folder,
        state_dir=loaded.state_dir,
        log=log,
        request_stop=log.error,
    )
    origin = Origin(at=clock.now(), actor="bench")
    await database.write(begin_life, life, list(names), kernel.policy.budgets, origin)
    spare_what_stays()
    try:
        yield Governed(kernel=kernel, loaded=loaded)
    finally:
        await kernel.models.close()
        await database.close()
