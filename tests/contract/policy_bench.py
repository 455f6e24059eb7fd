"""A worker under a policy, on either database: what it proposes, and what people decide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import VirtualClock
from supervisor.errors import SupervisorError
from supervisor.events.log import Origin
from supervisor.governance.approvals import DecideCommand, Decided, Terms, approve, deny
from supervisor.governance.policy import ActionPolicy, AutoRule, Tier
from supervisor.governance.proposals import StoredProposal, Ticket, find_proposal, find_ticket
from supervisor.governance.risk import SessionRiskRules
from supervisor.governance.session_grants import Scope
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.periods import Period
from supervisor.maintenance.approval_sweep import Swept, sweep
from supervisor.storage.database import Database, Transaction
from supervisor.worker.context import Context
from supervisor.worker.records import Started, TickRequest, begin_tick
from supervisor.worker.tick import TickEnd, run_tick
from tests.unit.worker.conftest import Bench

T = TypeVar("T")
UTC_ZONE = ZoneInfo("UTC")
TERMS = Terms(timezone=UTC_ZONE, approval_valid_s=86_400.0)


class Sure(TypedDict):
    """What makes a proposal a low risk."""

    score: float
    resource: str


#: Sure enough, and of a known asset.
SURE: Sure = {"score": 0.9, "resource": "issue:7"}


def policy_of(**lists: tuple[str, ...]) -> ActionPolicy:
    """Return a policy for live sessions whose issues are known assets."""
    return ActionPolicy(
        lists={Tier(tier): names for tier, names in lists.items()},
        known_assets=("issue:*",),
        auto=AutoRule(dry_run_only=False),
    )


POLICY = policy_of(
    blocked=("send_email",),
    steer=("close_issue",),
    always_approve=("merge",),
    auto_approve=("tag_issue",),
    unrestricted=("note",),
)
#: The same, where no number of actions makes a session risky.
CALM = msgspec.structs.replace(
    POLICY, session_risk=SessionRiskRules(medium_from=10**6, high_from=10**6)
)


class PolicyBench(Bench):
    """Runs a worker's ticks, and decides its tickets."""

    def __init__(self, database: Database, clock: VirtualClock, folder: Path) -> None:
        super().__init__(database, clock, folder)
        self.decisions = 0
        self.use(POLICY)

    def use(self, policy: ActionPolicy, *, actions_max: int = 10**6, cap: int = 10**6) -> None:
        """Take another policy, and limits of a session's actions and of the day's money."""
        limits = [
            Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=cap),
            Budget(
                scope="session",
                period=Period.SESSION,
                unit=Unit.ACTIONS,
                limit_amount=actions_max,
            ),
        ]
        budgets = Budgets(limits, timezone=UTC_ZONE, warn_ratio=0.8)
        self.kernel.policy = replace(self.kernel.policy, budgets=budgets, actions=policy)

    async def tick(self, work: Callable[[Context], Awaitable[T]], *, name: str = "w") -> T:
        """Let a worker's tick do `work`, and return what that returned; it must end well."""
        done: list[T] = []

        async def run(ctx: Context) -> None:
            done.append(await work(ctx))

        end = await self.tick_end(run, name=name)
        assert done, f"{end.outcome}: {end.refusal}"
        return done[0]

    async def tick_end(
        self, work: Callable[[Context], Awaitable[None]], *, name: str = "w"
    ) -> TickEnd:
        """Let a worker's tick do `work`, however it ends."""
        self.clock.advance(1)
        return await run_tick(self.kernel, await self.plan(work, name=name))

    async def dry_tick(self, work: Callable[[Context], Awaitable[T]]) -> T:
        """Let a tick of another worker do `work` in a session that is a dry run."""
        done: list[T] = []

        async def run(ctx: Context) -> None:
            done.append(await work(ctx))

        plan = await self.plan(run, name="dry")
        session = msgspec.structs.replace(plan.session, execution_mode="dry_run")
        await run_tick(self.kernel, replace(plan, session=session))
        return done[0]

    async def abandon(self, work: Callable[[Context], Awaitable[None]]) -> None:
        """Begin a tick, let it do `work`, and leave it as a kill -9 does: without its end."""
        plan = await self.plan(work)
        request = TickRequest(
            boot_id=self.kernel.boot_id,
            session=plan.session,
            budgets=self.kernel.policy.budgets,
            model=plan.model,
            is_free=False,
        )
        origin = Origin(at=self.clock.now(), actor="worker:w")
        begun = await self.store.write(begin_tick, request, origin)
        assert isinstance(begun, Started)
        ctx = Context(self.kernel, plan, tick=begun.tick, session=begun.session, state=begun.state)
        await work(ctx)

    def order(self, ticket: str, scope: Scope | None = None) -> DecideCommand:
        return DecideCommand(ticket=ticket, why="looked at it", for_session=scope)

    def origin(self, actor: str = "ann", command_id: str = "") -> Origin:
        self.decisions += 1
        command = command_id or f"decision-{self.decisions}"
        return Origin(at=self.clock.now(), actor=actor, command_id=command)

    async def approve(self, ticket: str, scope: Scope | None = None) -> Decided | SupervisorError:
        return await self.store.write(approve, self.order(ticket, scope), self.origin(), TERMS)

    async def deny(self, ticket: str) -> Decided | SupervisorError:
        return await self.store.write(deny, self.order(ticket), self.origin(), TERMS)

    async def sweep(self) -> Swept:
        return await sweep(self.store, clock=self.clock, timezone=UTC_ZONE)

    async def proposal(self, proposal_id: str) -> StoredProposal:
        found = await self.store.read(find_proposal, proposal_id)
        assert found is not None
        return found

    async def ticket(self, ticket_id: str) -> Ticket:
        found = await self.store.read(find_ticket, ticket_id)
        assert found is not None
        return found

    async def unnoticed(self) -> list[str]:
        def read(tx: Transaction) -> list[_Worker]:
            return tx.rows("approvals.unnoticed", _Worker)

        return [row.worker for row in await self.store.read(read)]


class _Worker(msgspec.Struct, frozen=True):
    worker: str
