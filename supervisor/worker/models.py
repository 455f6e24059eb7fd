"""Which models there are, what they cost, and who answers for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from supervisor.errors import ModelAccessDenied, PriceUnknown
from supervisor.ledger.pricing import Price
from supervisor.providers.provider import Provider

#: Models are compared by a call with as much input and output as this.
_COMPARED_TOKENS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as the config gives it; delays in seconds."""

    full_name: str
    name: str
    provider: Provider
    price: Price
    max_tokens: int
    attempts_max: int
    retry_delay_s: float
    retry_delay_max_s: float
    retry_after_max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One provider of the config; `price` is None where the price table decides.

    `price_hint` finds the provider in the table: its id there or its API's URL, None by model.
    """

    provider: Provider
    price_hint: str | None
    price: Price | None
    max_tokens: int
    attempts_max: int
    retry_delay_s: float
    retry_delay_max_s: float
    retry_after_max_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A model is not to be asked before a moment of the monotonic clock, as its provider said."""

    until_s: float
    why: str


class Models:
    """Every model that a worker can name as `provider/model`.

    What providers have asked for is forgotten with it: a reload may have brought another key.
    """

    def __init__(self, sources: Mapping[str, Source], *, named: Iterable[str] = ()) -> None:
        """Take the providers by name; `named` are the models that the config names."""
        self._sources = sources
        self._named = tuple(named)
        self._rests: dict[str, Rest] = {}

    def leave_alone(self, full_name: str, rest: Rest) -> None:
        """Ask this model nothing before its rest is over; limits are often a model's own."""
        self._rests[full_name] = rest

    def rest_of(self, full_name: str, now_s: float) -> Rest | None:
        """Return the rest that was asked for a model, None where it is over."""
        rest = self._rests.get(full_name)
        return rest if rest is not None and rest.until_s > now_s else None

    def resolve(self, full_name: str, at: datetime) -> Model:
        """Return the model called `provider/model`, with its price for a call that starts at `at`.

        Raises:
            ModelAccessDenied: the config has no such provider.
            PriceUnknown: nobody has said what the model costs.
        """
        provider, _, name = full_name.partition("/")
        source = self._sources.get(provider)
        if source is None or not name:
            known = ", ".join(sorted(self._sources)) or "none yet"
            raise ModelAccessDenied(
                model=full_name or "(none)",
                what="is of no provider in the config",
                fix=f"set model = PROVIDER/MODEL for the worker; [providers.*] has: {known}",
            )
        return Model(
            full_name=full_name,
            name=name,
            provider=source.provider,
            price=source.price or _from_table(provider, source.price_hint, name, at),
            max_tokens=source.max_tokens,
            attempts_max=source.attempts_max,
            retry_delay_s=source.retry_delay_s,
            retry_delay_max_s=source.retry_delay_max_s,
            retry_after_max_s=source.retry_after_max_s,
        )

    def cheapest(self, full_name: str, at: datetime, *, may_use: Callable[[Model], bool]) -> Model:
        """Return the cheapest model that the config names of the same provider, or the same one.

        Of the same provider: no other one is to read what was meant for it.

        Raises:
            ModelAccessDenied, PriceUnknown: as for `resolve`.
        """
        asked = self.resolve(full_name, at)
        provider = full_name.partition("/")[0]
        others = {name for name in self._named if name.partition("/")[0] == provider}
        cheapest = asked
        for name in sorted(others - {full_name}):
            with suppress(PriceUnknown):
                other = self.resolve(name, at)
                if _worst(other) < _worst(cheapest) and may_use(other):
                    cheapest = other
        return cheapest

    def provider(self, name: str) -> Provider:
        """Return the provider of this name in the config."""
        return self._sources[name].provider

    def is_free(self, full_name: str) -> bool:
        """Return whether the config says that the model costs nothing."""
        source = self._sources.get(full_name.partition("/")[0])
        return source is not None and source.price is not None and source.price.is_free

    async def close(self) -> None:
        """Close every provider's connections."""
        for source in self._sources.values():
            await source.provider.close()


def _worst(model: Model) -> int:
    tokens = _COMPARED_TOKENS
    return model.price.worst_micro_usd(input_tokens_max=tokens, output_tokens_max=tokens)


def _from_table(provider: str, price_hint: str | None, model: str, at: datetime) -> Price:
    # Imported here: the table is 39 MB, and most configs need none of it.
    from supervisor.ledger.pricing import table_price

    return table_price(provider=provider, provider_hint=price_hint, model=model, at=at)
