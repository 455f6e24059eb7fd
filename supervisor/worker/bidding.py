"""What a worker asks of a model, and the worst case for which it bids."""

from __future__ import annotations

import msgspec

from supervisor.events import model_kinds
from supervisor.events.event import Event
from supervisor.governance.model_governor import ModelAccess
from supervisor.providers.provider import Message, ModelRequest
from supervisor.worker.callers import Caller
from supervisor.worker.context_budget import Compact
from supervisor.worker.models import Model
from supervisor.worker.placing import Bid
from supervisor.worker.plan import Kernel


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker asks of a model, and on whose behalf.

    `compact` is its own way to shorten the messages. `routed` says how its class became the model,
    and `best` what the best one would have been. `fallback` are the models to ask where this one
    gives no answer, and `fell` says that it is one of these. Where the worker has not said how
    long the answer may be, each model's own `max_tokens` applies.
    """

    model: Model
    messages: tuple[Message, ...]
    max_tokens: int
    purpose: str
    caller: Caller
    compact: Compact | None = None
    routed: model_kinds.ModelRouted | None = None
    best: Model | None = None
    fallback: tuple[str, ...] = ()
    fell: model_kinds.ModelFellBack | None = None
    is_length_given: bool = True


def request_of(question: Question) -> ModelRequest:
    """Return the question as the provider is asked it, its output not cut yet."""
    return ModelRequest(
        model=question.model.name, messages=question.messages, max_tokens=question.max_tokens
    )


def bid_for(kernel: Kernel, question: Question, *, is_cheapest: bool = False) -> Bid:
    """Return the question's worst case, and what the governor says of it.

    Raises:
        InputRefused: the question can't be bounded.
    """
    model, max_tokens = question.model, question.max_tokens
    return Bid(
        access=_access(kernel, question),
        price=model.price,
        input_tokens_max=model.provider.input_tokens_max(request_of(question)),
        output_tokens_max=max_tokens,
        output_tokens_min=min(kernel.policy.min_output_tokens, max_tokens),
        is_cheapest=is_cheapest,
        notes=_notes(question),
    )


def _notes(question: Question) -> tuple[Event, ...]:
    """Return what goes on record with the hold: how the call came to its model."""
    notes: list[Event] = []
    if question.routed is not None:
        notes.append(question.routed)
    if question.fell is not None:
        # A probe may take another model of the same provider.
        model = question.model.full_name
        notes.append(msgspec.structs.replace(question.fell, model=model))
    return tuple(notes)


def cheapest(kernel: Kernel, question: Question) -> Question:
    """Return the question to the cheapest model of the same provider that its caller may use."""

    def may_use(model: Model) -> bool:
        access = _access(kernel, msgspec.structs.replace(question, model=model))
        return access is None or access.refusal is None

    asked, now = question.model.full_name, kernel.clock.now()
    model = kernel.models.cheapest(asked, now, may_use=may_use)
    return msgspec.structs.replace(question, model=model)


def _access(kernel: Kernel, question: Question) -> ModelAccess | None:
    governor = kernel.policy.governor
    if governor is None:
        return None
    caller = question.caller
    return governor.check_access(caller.identity, question.model.full_name, caller.action_tier)
