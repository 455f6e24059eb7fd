"""A worker's way to actions: proposed, and executed only where that is approved."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Annotated, TypedDict

import anyio
import msgspec
from msgspec import Meta

from supervisor.clock import from_us, iso, to_us
from supervisor.errors import ActionDenied, ApprovalRequired, InputRefused, Refusal, storable
from supervisor.governance import judging
from supervisor.governance.policy import Tier, route
from supervisor.governance.proposals import (
    Proposal,
    ProposalStatus,
    StoredProposal,
    find_proposal,
)
from supervisor.governance.proposals import Ticket as StoredTicket
from supervisor.governance.proposing import Judgement, ProposalRequest, Standing, propose
from supervisor.governance.session import Session
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.holds import Hold, Metering
from supervisor.money import micro_usd
from supervisor.redaction import REDACTION
from supervisor.storage.database import Transaction
from supervisor.worker.calls import Calls
from supervisor.worker.plan import Kernel

_NAME_MAX = 200
_TEXT_MAX = 20_000
_CONTENT_BYTES_MAX = 65_536
_AMOUNT_MAX = 1e9
_WHY_MAX = 500
_APPROVED_MAX = 1_000
#: What helps where it is not a person who has said no: proposing it again does not.
_FIXES = {
    "blocked": "mend the worker, or name it in another list of [policy]",
    "evaluator": "mend the worker, or its [policy.evaluator.NAME]",
    "high_risk": "let a person do it, or be asked: [policy] high_risk",
}


class Execution:
    """An approved action while its block runs it; as `ctx.spend`, with an end of its own."""

    def __init__(self, hold: Hold, calls: Calls, *, is_dry_run: bool) -> None:
        self._hold = hold
        self._calls = calls
        self.is_dry_run = is_dry_run

    def settle(self, *, usd: float = 0.0, tokens: int = 0) -> None:
        """Say that it was done, and what it really cost, in USD and tokens."""
        self._calls.settle(self._hold, self._amounts(usd, tokens), Metering())

    def fail(self, why: str, *, usd: float = 0.0, tokens: int = 0) -> None:
        """Say that it was tried and failed, and what that cost."""
        failure = REDACTION.text(storable(why))[:_WHY_MAX] or "it failed"
        self._calls.settle(self._hold, self._amounts(usd, tokens), Metering(), failure=failure)

    def release(self, why: str = "the worker did nothing") -> None:
        """Say that nothing was done, so that nothing is charged; the proposal has failed."""
        why = REDACTION.text(storable(why))[:_WHY_MAX] or "nothing was done"
        self._calls.release(self._hold, why=why)

    def _amounts(self, usd: float, tokens: int) -> Amounts:
        _check_number(f"hold {self._hold.id}", "usd", usd)
        _check_number(f"hold {self._hold.id}", "tokens", tokens)
        return Amounts(cost=micro_usd(usd), tokens=tokens, actions=self._hold.actions_held)


class Answer(ABC):
    """What became of a proposal; only `Approved` can be entered, the others refuse."""

    is_approved = False

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self.proposal_id = standing.stored.id
        self.proposal = standing.stored.proposal

    @property
    def action(self) -> str:
        """The action's name."""
        return self.proposal.action

    @abstractmethod
    async def __aenter__(self) -> Execution:
        """Enter the execution.

        Raises:
            ApprovalRequired: it is not approved.
            Refusal: a gate said no, or what it may cost does not fit.
        """

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        """Leave the execution; an exception forfeits what it may cost, and the action failed."""
        return None


class Approved(Answer):
    """An approved action: `async with` it executes it, once, under its hold."""

    is_approved = True

    def __init__(self, standing: Standing, actions: Actions) -> None:
        super().__init__(standing)
        self._running: AbstractAsyncContextManager[Execution] = actions.execute(standing.stored)

    async def __aenter__(self) -> Execution:
        return await self._running.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._running.__aexit__(kind, error, trace)


class Ticket(Answer):
    """A person is asked: the worker is called again when it is decided."""

    def __init__(self, standing: Standing, ticket: StoredTicket) -> None:
        super().__init__(standing)
        self.id = ticket.id
        self.why = ticket.why
        self.deadline: datetime = from_us(ticket.deadline_at)

    async def __aenter__(self) -> Execution:
        raise ApprovalRequired(
            action=self.action,
            what=f"waits for a person until {iso(self.deadline)}: {self.why}",
            fix=f"`supervisor approvals approve {self.id}`, or deny",
            ticket=self.id,
        )


class Draft(Ticket):
    """An action that can't be taken back is off: it is kept for a person, who may allow it."""


class Guidance(Answer):
    """Neither executed nor blocked: do something else; after `attempts_left` more, a ticket."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing)
        self.text = standing.guidance
        self.suggest = standing.suggest
        self.attempts_left = standing.attempts_left

    async def __aenter__(self) -> Execution:
        instead = f"; instead: {', '.join(self.suggest)}" if self.suggest else ""
        raise ApprovalRequired(
            action=self.action, what=self.text, fix=f"follow the guidance{instead}"
        )


class Actions:
    """Proposes and executes for one tick. Written only by that tick's tasks."""

    def __init__(
        self, kernel: Kernel, calls: Calls, *, worker: str, tick: int, session: Session
    ) -> None:
        self._kernel = kernel
        self._calls = calls
        self._worker = worker
        self._tick = tick
        self._session_id = session.id
        self._is_dry_run = session.execution_mode == "dry_run"
        self._count = 0

    async def propose(self, proposal: Proposal, *, command_id: str | None) -> Answer:
        """Propose an action, and return what became of it.

        Raises:
            Refusal: a gate said no, or the action is denied.
            CommandConflict: the command id was used for another proposal.
        """
        self._count += 1
        # With the worker's name in front: no worker asks about the proposals of another.
        own_id = f"#{self._tick}.p{self._count}" if command_id is None else f":{command_id}"
        proposal_id = self._worker + own_id
        judgement = await self._judge(proposal, proposal_id, may_be_known=command_id is not None)
        request = ProposalRequest(
            id=proposal_id,
            worker=self._worker,
            session_id=self._session_id,
            tick=self._tick,
            proposal=proposal,
            judgement=judgement,
        )
        policy = self._kernel.policy
        # Shielded: a ticket that was made is known to its worker.
        with anyio.CancelScope(shield=True):
            standing = await self._kernel.database.write(
                propose,
                request,
                policy.actions,
                policy.budgets.timezone,
                self._calls.origin(proposal_id),
            )
        if isinstance(standing, Refusal):
            raise standing
        return self._answer(standing)

    async def _judge(
        self, proposal: Proposal, proposal_id: str, *, may_be_known: bool
    ) -> Judgement | None:
        database = self._kernel.database
        if may_be_known and await database.read(find_proposal, proposal_id) is not None:
            return None
        return await judging.judge(
            self._kernel.policy.actions,
            proposal,
            worker=self._worker,
            session_id=self._session_id,
            database=database,
        )

    def _answer(self, standing: Standing) -> Answer:
        stored, ticket = standing.stored, standing.ticket
        match stored.status:
            case ProposalStatus.APPROVED if stored.hold_id is None:
                return Approved(standing, self)
            case ProposalStatus.PENDING if ticket is not None:
                return (Draft if ticket.is_draft else Ticket)(standing, ticket)
            case ProposalStatus.PENDING:
                return Guidance(standing)
            case _:
                raise _denied(stored)

    @asynccontextmanager
    async def execute(self, stored: StoredProposal) -> AsyncIterator[Execution]:
        """Execute an approved proposal while the block runs."""
        proposal = stored.proposal
        tier = route(self._kernel.policy.actions, proposal, self._worker)
        if tier.tier is Tier.BLOCKED:
            # The config has blocked it since it was approved.
            raise ActionDenied(
                action=proposal.action, reason="blocked", what=tier.reason, fix="see [policy]"
            )
        hold = await self._calls.execute(stored.id)
        try:
            yield Execution(hold, self._calls, is_dry_run=self._is_dry_run)
        except BaseException:
            self._calls.forfeit(hold, why="the block was left by an exception")
            raise
        self._calls.settle(hold, proposal.amounts, Metering())
        await self._calls.flush()

    async def approved(self) -> list[Approved]:
        """Return what was approved for the worker and not executed yet, the oldest first."""
        now = to_us(self._kernel.clock.now())
        found = await self._kernel.database.read(_approved, self._worker, now)
        return [Approved(Standing(stored=stored), self) for stored in found]


class Details(TypedDict, total=False):
    """What else a proposal may say; see `Proposal`. `resource` is `type:id`."""

    resource: str
    reasoning: str
    cost_usd: float
    tokens: int
    weight: float
    score: float
    risk_factors: Sequence[str]
    metadata: Mapping[str, object]


class _Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, checked."""

    resource: Annotated[str, Meta(max_length=_NAME_MAX)] = ""
    reasoning: Annotated[str, Meta(max_length=_TEXT_MAX)] = ""
    cost_usd: Annotated[float, Meta(ge=0, le=_AMOUNT_MAX)] = 0.0
    tokens: Annotated[int, Meta(ge=0, le=int(_AMOUNT_MAX))] = 0
    weight: Annotated[float, Meta(ge=0, le=_AMOUNT_MAX)] = 0.0
    score: Annotated[float, Meta(ge=0, le=1)] = 0.0
    risk_factors: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    metadata: dict[str, object] = {}


def build_proposal(action: str, details: Mapping[str, object]) -> Proposal:
    """Return the proposal that a worker describes.

    Raises:
        InputRefused: it is not of the form, or too large.
    """
    subject = f"action {action[:_NAME_MAX]!r}"
    if not 0 < len(action) <= _NAME_MAX:
        fix = f"give 1 to {_NAME_MAX} characters"
        raise InputRefused(subject=subject, what="is no name", fix=fix)
    try:
        given = msgspec.convert(dict(details), _Given)
        # As JSON, so that it is the same proposal when it is asked about again.
        metadata = msgspec.json.decode(msgspec.json.encode(given.metadata), type=dict[str, object])
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
        what = f"its proposal is not of the form: {error}"
        raise InputRefused(subject=subject, what=what, fix="mend the worker") from error
    proposal = Proposal(
        action=storable(action),
        resource=storable(given.resource),
        reasoning=storable(given.reasoning),
        cost=micro_usd(given.cost_usd),
        tokens=given.tokens,
        weight=given.weight,
        score=given.score,
        risk_factors=tuple(storable(factor) for factor in given.risk_factors),
        metadata=metadata,
    )
    size = len(proposal.encode())
    if size > _CONTENT_BYTES_MAX:
        what = f"its proposal has {size} bytes of JSON"
        fix = f"keep it to {_CONTENT_BYTES_MAX}: put the rest into ctx.files"
        raise InputRefused(subject=subject, what=what, fix=fix)
    return proposal


def _approved(tx: Transaction, worker: str, now: int) -> list[StoredProposal]:
    return tx.rows(
        "approvals.approved_of_worker",
        StoredProposal,
        worker=worker,
        now=now,
        rows_max=_APPROVED_MAX,
    )


def _denied(stored: StoredProposal) -> ActionDenied:
    is_running = stored.status is ProposalStatus.APPROVED
    reason = "executed" if is_running else stored.code or stored.status.value
    return ActionDenied(
        action=stored.proposal.action,
        reason=reason,
        what=f"{stored.id} is {stored.status}" + (f": {stored.why}" if stored.why else ""),
        fix=_FIXES.get(reason, "leave it, or propose it again under another command id"),
    )


def _check_number(subject: str, name: str, amount: float) -> None:
    if not math.isfinite(amount) or not 0 <= amount <= _AMOUNT_MAX:
        raise InputRefused(
            subject=subject,
            what=f"{name} {amount} is no amount",
            fix=f"give 0 to {_AMOUNT_MAX:g}",
        )
