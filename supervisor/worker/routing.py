"""From a class of models to the model that a call uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from supervisor.errors import ModelAccessDenied, PriceUnknown
from supervisor.events import model_kinds
from supervisor.governance.routing import CLASSES, Ask, Routing, budget_left
from supervisor.ledger.accounts import Call
from supervisor.providers.provider import Message, ModelRequest
from supervisor.worker.callers import Caller
from supervisor.worker.models import Model
from supervisor.worker.plan import Kernel

_BEST = CLASSES[-1]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A call that asks for a class; `max_tokens` is None where the provider's own applies."""

    asked: str
    worker: str
    session_id: str
    messages: tuple[Message, ...]
    max_tokens: int | None
    purpose: str
    caller: Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The model that a call uses, how it came to that, and what the best one would have been."""

    model: Model
    event: model_kinds.ModelRouted
    best: Model | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """A model that may be used, and the most that the call may cost with it, in micro-USD."""

    model: Model
    cost_max: int
    input_tokens: int


async def choose(kernel: Kernel, routing: Routing, wish: Wish) -> Routed:
    """Return the cheapest allowed model of the class that the rules make of the one asked for.

    Raises:
        ModelAccessDenied: none of its models may be used, has a price, and takes this input.
    """
    offers = {name: _offers(kernel, routing.classes.get(name, ()), wish) for name in CLASSES}
    known = [offer.input_tokens for found in offers.values() for offer in found]
    ask = Ask(
        asked=wish.asked,
        purpose=wish.purpose,
        input_tokens=max(known, default=0),
        budget_left=await _budget_left(kernel, wish) if routing.needs_budget else 1.0,
    )
    use, rule = routing.use(ask)
    best = _cheapest(offers[_BEST])
    chosen = _cheapest(offers[use])
    if chosen is None:
        raise ModelAccessDenied(
            model=wish.asked,
            what=f"has none among the {use} models that {wish.caller.identity} may use",
            fix=f"give [routing] {use} a model with a price that [models] allows",
            identity=str(wish.caller.identity),
        )
    event = model_kinds.ModelRouted(
        worker=wish.worker,
        asked=wish.asked,
        use=use,
        model=chosen.full_name,
        rule=rule,
        best="" if best is None else best.full_name,
    )
    return Routed(model=chosen, event=event, best=best)


def _offers(kernel: Kernel, names: Sequence[str], wish: Wish) -> list[_Offer]:
    """Return what those of the models would cost that may be used at all."""
    offers: list[_Offer] = []
    for name in names:
        try:
            model = kernel.models.resolve(name, kernel.clock.now())
        except (PriceUnknown, ModelAccessDenied):
            continue
        governor, caller = kernel.policy.governor, wish.caller
        if governor is not None:
            access = governor.check_access(caller.identity, name, caller.action_tier)
            if not access.is_allowed:
                continue
        output_tokens_max = model.max_tokens if wish.max_tokens is None else wish.max_tokens
        request = ModelRequest(
            model=model.name, messages=wish.messages, max_tokens=output_tokens_max
        )
        bound = model.provider.input_tokens_max(request)
        cost_max = model.price.worst_micro_usd(
            input_tokens_max=bound, output_tokens_max=output_tokens_max
        )
        offers.append(_Offer(model=model, cost_max=cost_max, input_tokens=bound))
    return offers


def _cheapest(offers: Sequence[_Offer]) -> Model | None:
    """Return the first of the cheapest, so that the config's order decides between equals."""
    return min(offers, key=lambda offer: offer.cost_max).model if offers else None


async def _budget_left(kernel: Kernel, wish: Wish) -> float:
    caller = wish.caller
    call = Call(
        worker=wish.worker,
        session_id=wish.session_id,
        model="",
        identity=caller.identity,
        conversation=caller.conversation,
    )
    return await kernel.database.read(budget_left, call, kernel.policy.budgets, kernel.clock.now())
