"""The transactions around a paid call: gates and hold before it, its end after it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from supervisor.errors import BudgetExceeded, ModelAccessDenied, Refusal
from supervisor.events import kinds, model_kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.breakers import report_call
from supervisor.governance.executions import end_execution
from supervisor.governance.gates import first_refusal, look
from supervisor.governance.model_governor import ModelAccess
from supervisor.ledger import ledger
from supervisor.ledger.accounts import Amounts, Budgets, Unit
from supervisor.ledger.holds import Hold, HoldRequest, HoldStatus, Metering
from supervisor.ledger.pricing import Price, affordable_output_tokens
from supervisor.storage.database import Transaction

# One for each unit that can be short, and one more.
_CLAMPS_MAX = 4


class Bid(msgspec.Struct, frozen=True, kw_only=True):
    """A model call that asks for its worst case, and how far its output may be cut for it.

    `access` is what the governor says of the model, None where the config governs none.
    """

    access: ModelAccess | None
    price: Price
    input_tokens_max: int
    output_tokens_max: int
    output_tokens_min: int

    def amounts(self, output_tokens_max: int) -> Amounts:
        """Return the worst case with that much output."""
        cost = self.price.worst_micro_usd(
            input_tokens_max=self.input_tokens_max, output_tokens_max=output_tokens_max
        )
        return Amounts(cost=cost, tokens=self.input_tokens_max + output_tokens_max, actions=1)

    def clamped(self, refusal: BudgetExceeded) -> int:
        """Return the output that the account which refused could still pay for."""
        match refusal.unit:
            case Unit.MICRO_USD:
                return affordable_output_tokens(
                    self.price,
                    input_tokens_max=self.input_tokens_max,
                    free_micro_usd=refusal.free,
                )
            case Unit.TOKENS:
                return refusal.free - self.input_tokens_max
            case _:
                return 0


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """A hold, and the output tokens that it covers."""

    hold: Hold
    output_tokens_max: int


def place(
    tx: Transaction, request: HoldRequest, bid: Bid | None, budgets: Budgets, origin: Origin
) -> Granted | Refusal:
    """Pass every gate and place the call's hold, in one transaction.

    With a `bid`, the output is clamped to what the remaining budgets buy (requirement L4a).
    """
    situation = look(tx, worker=request.worker, now=origin.at)
    access = bid.access if bid is not None else None
    if access is not None:
        situation = msgspec.structs.replace(situation, access=access)
    with Journal(tx, request.session_id, origin) as journal:
        refusal = first_refusal(situation)
        if refusal is None:
            placed = _reserve(tx, journal, request, bid, budgets)
            if isinstance(placed, Granted):
                _note_override(journal, request.worker, access)
                return placed
            ledger.record_exhaustion(tx, journal, placed)
            refusal = placed
        _note_refusal(journal, request.worker, request.model, refusal)
        return refusal


def _note_override(journal: Journal, worker: str, access: ModelAccess | None) -> None:
    if access is not None and access.is_override:
        journal.add(
            model_kinds.ModelOverrideUsed(
                worker=worker,
                model=access.model,
                tier=access.tier,
                identity=str(access.identity),
            )
        )


def _note_refusal(journal: Journal, worker: str, model: str, refusal: Refusal) -> None:
    if isinstance(refusal, ModelAccessDenied):
        journal.add(
            model_kinds.ModelAccessDenied(
                worker=worker,
                model=model,
                why=refusal.what,
                tier=refusal.tier,
                identity=refusal.identity,
            )
        )
    journal.add(kinds.CallRefused(worker=worker, model=model, code=refusal.code, why=str(refusal)))


def record_refusal(
    tx: Transaction, session_id: str, worker: str, model: str, refusal: Refusal, origin: Origin
) -> None:
    """Record a call that was refused before it could ask for a hold."""
    with Journal(tx, session_id, origin) as journal:
        _note_refusal(journal, worker, model, refusal)


def _reserve(
    tx: Transaction, journal: Journal, request: HoldRequest, bid: Bid | None, budgets: Budgets
) -> Granted | BudgetExceeded:
    tokens = bid.output_tokens_max if bid else 0
    first = placed = ledger.reserve(tx, journal, request, budgets)
    for _ in range(_CLAMPS_MAX):
        if isinstance(placed, Hold):
            return Granted(hold=placed, output_tokens_max=tokens)
        clamped = bid.clamped(placed) if bid else 0
        if bid is None or not bid.output_tokens_min <= clamped < tokens:
            break
        tokens = clamped
        request = msgspec.structs.replace(request, amounts=bid.amounts(tokens))
        placed = ledger.reserve(tx, journal, request, budgets)
    assert isinstance(first, BudgetExceeded), f"hold {request.id} was placed and refused"
    return first


class HoldEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a call's hold is to end; `actual` and `metering` are those of a settled one.

    `failure` says of an execution that it failed although its cost is known.
    """

    hold: Hold
    status: HoldStatus
    origin: Origin
    actual: Amounts = Amounts()
    metering: Metering = Metering()
    why: str = ""
    failure: str = ""


def end_holds(tx: Transaction, session_id: str, ends: Sequence[HoldEnd]) -> None:
    """End holds of one session in one transaction; see `write_ends`."""
    with Journal(tx, session_id, ends[0].origin) as journal:
        write_ends(tx, journal, ends)


def write_ends(tx: Transaction, journal: Journal, ends: Sequence[HoldEnd]) -> None:
    """End each hold as it says; a call above its hold opens the worker's breaker.

    Raises:
        CommandConflict: a hold has ended in another way.
    """
    origin = journal.origin
    for end in ends:
        journal.origin = end.origin
        match end.status:
            case HoldStatus.SETTLED:
                is_within_hold = ledger.settle(tx, journal, end.hold, end.actual, end.metering)
                worker = end.hold.worker
                report_call(tx, journal, worker=worker, is_within_hold=is_within_hold)
                end_execution(tx, journal, end.hold, failure=end.failure)
            case HoldStatus.RELEASED:
                ledger.release(tx, journal, end.hold, why=end.why)
                end_execution(tx, journal, end.hold, failure=end.why)
            case _:
                ledger.forfeit(tx, journal, end.hold, why=end.why)
                end_execution(tx, journal, end.hold, failure=end.why, is_unknown=True)
    journal.origin = origin
