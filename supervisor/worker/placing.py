"""The transactions around a paid call: gates and hold before it, its end after it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from supervisor.errors import BreakerOpen, BudgetExceeded, ModelAccessDenied, Refusal
from supervisor.events import kinds, model_kinds
from supervisor.events.event import Event
from supervisor.events.log import Journal, Origin
from supervisor.governance.breaker import Asker, BreakerRules, provider_of, to_probe
from supervisor.governance.breakers import CallReport, Fault, begin_probe, report_call
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
_ONLY_OVERRUNS = BreakerRules()


class Bid(msgspec.Struct, frozen=True, kw_only=True):
    """A model call that asks for its worst case, and how far its output may be cut for it.

    `is_cheapest` says that its model is the cheapest there is, so that it may be a probe.
    `access` is what the governor says of the model, None where the config governs none. `notes`
    go on record with the hold.
    """

    access: ModelAccess | None
    price: Price
    input_tokens_max: int
    output_tokens_max: int
    output_tokens_min: int
    notes: tuple[Event, ...] = ()
    is_cheapest: bool = False

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
    """A hold, and the output tokens that it covers.

    `is_probe` says that it probes a breaker, `is_watched` that one wants to know how it ends.
    """

    hold: Hold
    output_tokens_max: int
    is_probe: bool = False
    is_watched: bool = False


class AskAsProbe(msgspec.Struct, frozen=True):
    """Nothing was placed: the call would be a probe, so that it is to take the cheapest model."""


class WaitForProbe(msgspec.Struct, frozen=True):
    """Nothing was placed: another call of the same tick is the probe, and soon tells."""

    hold: str


def place(
    tx: Transaction,
    request: HoldRequest,
    bid: Bid | None,
    budgets: Budgets,
    origin: Origin,
    inside: str = "",
) -> Granted | AskAsProbe | WaitForProbe | Refusal:
    """Pass every gate and place the call's hold, in one transaction.

    With a `bid`, the output is clamped to what the remaining budgets buy (requirement L4a).
    `inside` is the hold in whose block the call is made.
    """
    asker = Asker(
        worker=request.worker,
        tick=request.tick,
        is_call=True,
        provider=provider_of(request.model),
        inside=inside,
    )
    situation = look(tx, asker, now=origin.at)
    access = bid.access if bid is not None else None
    if access is not None:
        situation = msgspec.structs.replace(situation, access=access)
    probed = to_probe(situation.breakers, asker) if situation.breakers else []
    with Journal(tx, request.session_id, origin) as journal:
        refusal = first_refusal(situation)
        if isinstance(refusal, BreakerOpen) and _is_own(refusal, asker):
            return WaitForProbe(refusal.probe)
        if refusal is None and probed and bid is not None and not bid.is_cheapest:
            return AskAsProbe()
        if refusal is None:
            placed = _reserve(tx, journal, request, bid, budgets)
            if isinstance(placed, Granted):
                _note_granted(journal, request.worker, bid)
                begin_probe(tx, journal, probed, asker, hold=placed.hold.id)
                return msgspec.structs.replace(
                    placed, is_probe=bool(probed), is_watched=situation.is_watched
                )
            ledger.record_exhaustion(tx, journal, placed)
            refusal = placed
        _note_refusal(journal, request.worker, request.model, refusal)
        return refusal


def _is_own(refusal: BreakerOpen, asker: Asker) -> bool:
    """Return whether what refuses is a call of the same tick that is the probe."""
    return refusal.probe.startswith(f"{asker.worker}#{asker.tick}.")


def _note_granted(journal: Journal, worker: str, bid: Bid | None) -> None:
    """Put on record what goes with a model call's hold: its notes, and an override's use."""
    if bid is None:
        return
    access = bid.access
    if access is not None and access.is_override:
        journal.add(
            model_kinds.ModelOverrideUsed(
                worker=worker,
                model=access.model,
                tier=access.tier,
                identity=str(access.identity),
            )
        )
    for note in bid.notes:
        journal.add(note)


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

    `failure` says of an execution that it failed although its cost is known. `fault`, `repeats`
    and `is_watched` are for the breakers.
    """

    hold: Hold
    status: HoldStatus
    origin: Origin
    actual: Amounts = Amounts()
    metering: Metering = Metering()
    why: str = ""
    failure: str = ""
    fault: Fault = Fault.NONE
    repeats: int = 0
    is_watched: bool = True


def end_holds(
    tx: Transaction,
    session_id: str,
    ends: Sequence[HoldEnd],
    breakers: BreakerRules = _ONLY_OVERRUNS,
) -> None:
    """End holds of one session in one transaction; see `write_ends`."""
    with Journal(tx, session_id, ends[0].origin) as journal:
        write_ends(tx, journal, ends, breakers)


def write_ends(
    tx: Transaction, journal: Journal, ends: Sequence[HoldEnd], breakers: BreakerRules
) -> None:
    """End each hold as it says, and let the breakers learn of it.

    Raises:
        CommandConflict: a hold has ended in another way.
    """
    origin = journal.origin
    for end in ends:
        journal.origin = end.origin
        is_within_hold = True
        match end.status:
            case HoldStatus.SETTLED:
                is_within_hold = ledger.settle(tx, journal, end.hold, end.actual, end.metering)
                end_execution(tx, journal, end.hold, failure=end.failure)
            case HoldStatus.RELEASED:
                ledger.release(tx, journal, end.hold, why=end.why)
                end_execution(tx, journal, end.hold, failure=end.why)
            case _:
                ledger.forfeit(tx, journal, end.hold, why=end.why)
                end_execution(tx, journal, end.hold, failure=end.why, is_unknown=True)
        report_call(tx, journal, _report(end, is_within_hold=is_within_hold), breakers)
    journal.origin = origin


def _report(end: HoldEnd, *, is_within_hold: bool) -> CallReport:
    return CallReport(
        worker=end.hold.worker,
        hold=end.hold.id,
        provider=provider_of(end.hold.model),
        is_answered=end.status is HoldStatus.SETTLED,
        is_within_hold=is_within_hold,
        is_watched=end.is_watched,
        fault=end.fault,
        why=end.why,
        repeats=end.repeats,
    )
