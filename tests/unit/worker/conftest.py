"""A kernel on a real store, with a scripted provider and a clock that tests move."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
import structlog

from supervisor.clock import VirtualClock
from supervisor.events.log import EventRow
from supervisor.governance.rotation import SessionPlan
from supervisor.governance.validators import Checks
from supervisor.hands.rules import HttpRules
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.holds import Account
from supervisor.ledger.periods import Period
from supervisor.ledger.pricing import FixedPrice, Price
from supervisor.providers.scripted import Script, Scripted, Step
from supervisor.storage.database import Database, Transaction
from supervisor.worker.models import Models, Source
from supervisor.worker.plan import Kernel, Policy, WorkerFunction, WorkerPlan
from supervisor.worker.records import register_worker
from supervisor.worker.schedule import Every

UTC_ZONE = ZoneInfo("UTC")
#: One output token costs 1 micro-USD, input nothing: a call of 10,000 tokens is one cent.
CENT_PRICE = FixedPrice(input_usd_per_mtok=0, output_usd_per_mtok=1)


class Bench:
    """A kernel and what a test looks at."""

    def __init__(self, store: Database, clock: VirtualClock, folder: Path) -> None:
        self.store = store
        self.clock = clock
        self.stops: list[str] = []
        self.provider = Scripted(name="p", script=Script())
        self.kernel = Kernel(
            boot_id="boot-1",
            database=store,
            clock=clock,
            chance=random.Random(1),  # noqa: S311 - jitter of a test
            models=self.models([Step()]),
            policy=self.policy(),
            config_dir=folder,
            state_dir=folder,
            log=structlog.get_logger(),
            request_stop=self.stops.append,
        )

    def models(
        self, steps: Sequence[Step], *, price: Price = CENT_PRICE, attempts_max: int = 1
    ) -> Models:
        """Return a catalogue whose one provider is called `p`."""
        self.provider = Scripted(name="p", script=Script(steps=tuple(steps)))
        source = Source(
            provider=self.provider,
            price_hint=None,
            price=price,
            max_tokens=10_000,
            attempts_max=attempts_max,
            retry_delay_s=0.001,
            retry_delay_max_s=0.002,
        )
        return Models({"p": source})

    def script(self, *steps: Step, attempts_max: int = 1) -> None:
        """Give the provider other steps."""
        self.kernel.models = self.models(steps, attempts_max=attempts_max)

    def policy(self, *, cap: int = 1_000_000, on_cap: str = "wait") -> Policy:
        """Return limits of a daily cap and of each session's money and actions."""
        limits = [
            Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=cap),
            Budget(scope="session", period=Period.SESSION, unit=Unit.MICRO_USD, limit_amount=10**9),
            Budget(scope="session", period=Period.SESSION, unit=Unit.ACTIONS, limit_amount=10**6),
        ]
        budgets = Budgets(limits, timezone=UTC_ZONE, warn_ratio=0.8)
        return Policy(budgets=budgets, on_cap=on_cap, min_output_tokens=64)

    async def plan(
        self,
        function: WorkerFunction,
        *,
        name: str = "w",
        timeout_s: float = 5.0,
        checkpoint_every: int = 12,
        options: Mapping[str, object] | None = None,
        http: HttpRules | None = None,
        checks: Checks | None = None,
        secrets: Mapping[str, str] | None = None,
        memory_max_bytes: int = 10_000_000,
    ) -> WorkerPlan:
        """Return a registered worker that runs `function`."""
        await self.store.write(register_worker, name, "running")
        return WorkerPlan(
            name=name,
            function=function,
            schedule=Every(60.0),
            session=SessionPlan(worker=name, span_s=3600, timezone=UTC_ZONE),
            tick_timeout_s=timeout_s,
            checkpoint_every=checkpoint_every,
            model="p/m",
            options=options or {},
            http=http or HttpRules(),
            checks=checks or Checks(),
            secrets=secrets or {},
            memory_max_bytes=memory_max_bytes,
        )

    async def events(self, *kinds: str) -> list[dict[str, object]]:
        """Return the payloads of the stored events of these kinds, in their order."""

        def read(tx: Transaction) -> list[EventRow]:
            wide = {"session_id": None, "worker": None, "kind": None, "correlation_id": None}
            return tx.rows(
                "events.after", EventRow, position=0, since=None, rows_max=10_000, **wide
            )

        rows = await self.store.read(read)
        return [
            {"kind": row.kind, **msgspec.json.decode(row.payload)}
            for row in rows
            if row.kind in kinds
        ]

    async def day(self) -> Account:
        """Return the daily cap's account."""

        def read(tx: Transaction) -> Account | None:
            return tx.row("ledger.account", Account, id="system/day/2026-06-01/micro_usd")

        account = await self.store.read(read)
        assert account is not None
        return account


@pytest.fixture
def bench(store: Database, clock: VirtualClock, tmp_path: Path) -> Bench:
    return Bench(store, clock, tmp_path)


@pytest.fixture
def guarded(bench: Bench) -> Bench:
    """A bench with every breaker."""
    from tests.unit.worker.breaker_bench import with_breakers

    return with_breakers(bench)
