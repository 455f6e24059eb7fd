"""What a worker is, and what every tick needs."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

import structlog

from supervisor.clock import Clock
from supervisor.governance.breaker import BreakerRules
from supervisor.governance.in_flight import InFlight
from supervisor.governance.model_governor import ModelGovernor
from supervisor.governance.policy import ActionPolicy
from supervisor.governance.rotation import SessionPlan
from supervisor.governance.routing import Routing
from supervisor.governance.validators import Checks
from supervisor.governance.worth import ValueRule
from supervisor.hands.host_book import HostBook
from supervisor.hands.rules import HttpRules
from supervisor.identity import NOBODY, Identity
from supervisor.jobs.idle import IdleWorkers
from supervisor.jobs.job import JobRules
from supervisor.jobs.leases import InHand
from supervisor.ledger.accounts import Budgets
from supervisor.outcome import Outcome
from supervisor.storage.database import Database
from supervisor.worker.context_budget import ContextLimits
from supervisor.worker.models import Models

if TYPE_CHECKING:
    from supervisor.worker.context import Context
    from supervisor.worker.wake_gate import Glance

WorkerFunction: TypeAlias = "Callable[[Context], Awaitable[Outcome | None]]"
WakeGate: TypeAlias = "Callable[[Glance], Awaitable[bool]]"


class Schedule(Protocol):
    """When a worker ticks.

    One that follows the wall clock means times of day, and waits for the first; one that does
    not means spans, and begins with a tick at once.
    """

    follows_wall_clock: ClassVar[bool]

    def next_delay_s(self, now: datetime) -> float:
        """Return the seconds from the end of a tick to the next."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """One worker of the config.

    `model` is its default `provider/model`, empty for none, and `fallback` are those to ask where
    a model gives no answer; `identity` is on whose behalf it calls
    where it does not say. With a `queue` it ticks for jobs.
    """

    name: str
    function: WorkerFunction
    schedule: Schedule
    session: SessionPlan
    tick_timeout_s: float
    checkpoint_every: int
    model: str
    options: Mapping[str, object]
    fallback: tuple[str, ...] = ()
    has_work: WakeGate | None = None
    identity: Identity = NOBODY
    http: HttpRules = field(default_factory=HttpRules)
    checks: Checks = field(default_factory=Checks)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    memory_max_bytes: int = 10_000_000
    value: ValueRule = field(default_factory=ValueRule)
    queue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What SIGHUP may change while workers run.

    `actions` is [policy], `governor` what says which models may be used, None where nothing does;
    `jobs` is [jobs].
    `actions` is [policy], `breakers` [breakers], `governor` what says which
    models may be used, None where nothing does.
    `actions` is [policy], `breakers` [breakers], `governor` what says which models may be used,
    `routing` the classes of models, each None where the config says nothing of it; `context` are
    the bounds of input.
    """

    budgets: Budgets
    on_cap: str
    min_output_tokens: int
    actions: ActionPolicy = field(default_factory=ActionPolicy)
    breakers: BreakerRules = field(default_factory=BreakerRules)
    governor: ModelGovernor | None = None
    jobs: JobRules = field(default_factory=JobRules)
    routing: Routing | None = None
    context: ContextLimits = field(default_factory=ContextLimits)


@dataclass(slots=True, kw_only=True)
class Kernel:
    """The parts that every tick needs; made once by the daemon.

    Only the daemon writes here: `policy` on a reload, `is_stopping` once.

    A worker's wait is cut into slices of `wait_slice_s`, each compared with the wall clock: after a
    suspend or a clock that was set, no worker sleeps longer than one slice too long.
    """

    boot_id: str
    database: Database
    clock: Clock
    chance: random.Random
    models: Models
    policy: Policy
    config_dir: Path
    state_dir: Path
    log: structlog.typing.FilteringBoundLogger
    request_stop: Callable[[str], None]
    in_flight: InFlight = field(default_factory=InFlight)
    in_hand: InHand = field(default_factory=InHand)
    idle: IdleWorkers = field(default_factory=IdleWorkers)
    is_stopping: bool = False
    wait_slice_s: float = 30.0
    hosts: HostBook = field(default_factory=HostBook)
