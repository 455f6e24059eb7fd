"""What a call costs, exactly, and at worst."""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import msgspec

from supervisor.errors import PriceUnknown
from supervisor.providers.provider import Usage
from supervisor.providers.reported_usage import TOKENS_MAX

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, Tier, TieredPrices

# How long after its start a call may still be billed by the vendor's clock: a price that rises
# within it counts for the worst case. Every known off-peak window is longer.
_CALL_SPAN = timedelta(hours=1)

# The prices that a call's text can meet...
_BILLED = frozenset(
    {
        "input_mtok",
        "output_mtok",
        "output_reasoning_mtok",
        "cache_read_mtok",
        "cache_write_mtok",
        "cache_write_5m_mtok",
        "cache_write_1h_mtok",
        "requests_kcount",
    }
)
# ...and those for input and tools that are never sent. Any other key (images or speech in the
# output, citations, pages, characters) may be billed without a bound: that model is refused.
_NEVER_SENT = frozenset(
    {
        "input_audio_mtok",
        "input_image_mtok",
        "input_video_mtok",
        "cache_audio_read_mtok",
        "cache_image_read_mtok",
        "cache_video_read_mtok",
        "web_searches_kcount",
        "social_searches_kcount",
        "storage_searches_kcount",
        "code_executions_kcount",
    }
)
# Models that search on their own, at a fee that the table does not have for them.
_SEARCHING = ("-search-", "deep-research")

_BATCH = {"processing": "batch"}


class Price(Protocol):
    """What a model costs. Amounts are whole micro-USD, a call's cost rounded up."""

    @property
    def is_free(self) -> bool:
        """Whether no call can cost anything."""
        ...

    def cost_micro_usd(self, usage: Usage) -> int:
        """Return the exact cost of `usage`."""
        ...

    def worst_micro_usd(self, *, input_tokens_max: int, output_tokens_max: int) -> int:
        """Return the highest cost of any usage within these bounds; grows with both."""
        ...


class FreePrice(msgspec.Struct, frozen=True):
    """Said to cost nothing: a local model, or `price = "free"`."""

    @property
    def is_free(self) -> bool:
        return True

    def cost_micro_usd(self, usage: Usage) -> int:
        return 0

    def worst_micro_usd(self, *, input_tokens_max: int, output_tokens_max: int) -> int:
        return 0


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of a whole request with more than `above_input_tokens` of input.

    Whole numbers of 1/`parts` micro-USD per token and per request, so that a call's cost is exact
    and quick; `of` makes them from prices. `worst_input` and `worst_output` are the dearest that a
    token can become.
    """

    above_input_tokens: int
    parts: int
    input: int
    output: int
    reasoning: int
    cache_read: int
    cache_write: int
    request: int
    worst_input: int
    worst_output: int

    @classmethod
    def of(cls, above_input_tokens: int = -1, **prices: Fraction) -> Rates:
        """Return rates from prices in micro-USD per token, which is USD per million tokens.

        The names are `input`, `output`, `reasoning`, `cache_read`, `cache_write`,
        `cache_write_dearest` (of the longest time to live: a count of cache writes does not say
        which it was) and, in micro-USD per request and if there is such a fee, `request`.
        """
        parts = math.lcm(*(price.denominator for price in prices.values()))
        whole = {name: int(price * parts) for name, price in prices.items()}
        inputs = ("input", "cache_read", "cache_write", "cache_write_dearest")
        return cls(
            above_input_tokens=above_input_tokens,
            parts=parts,
            input=whole["input"],
            output=whole["output"],
            reasoning=whole["reasoning"],
            cache_read=whole["cache_read"],
            cache_write=whole["cache_write"],
            request=whole.get("request", 0),
            worst_input=max(whole[name] for name in inputs),
            worst_output=max(whole["output"], whole["reasoning"]),
        )

    def cost(self, usage: Usage) -> int:
        plain_input = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
        plain_output = usage.output_tokens - usage.reasoning_tokens
        parts = (usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens)
        assert min(plain_input, plain_output, *parts) >= 0, f"usage that can't be: {usage}"
        return self._rounded_up(
            self.request
            + self.input * plain_input
            + self.cache_read * usage.cache_read_tokens
            + self.cache_write * usage.cache_write_tokens
            + self.output * plain_output
            + self.reasoning * usage.reasoning_tokens
        )

    def worst(self, *, input_tokens: int, output_tokens: int) -> int:
        return self._rounded_up(
            self.request + self.worst_input * input_tokens + self.worst_output * output_tokens
        )

    def _rounded_up(self, amount: int) -> int:
        return -(-amount // self.parts)


class FixedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """The config's own prices in USD per million tokens; a cache price left out is the input's.

    A float is read by its shortest decimal form, as in money.py.
    """

    input_usd_per_mtok: Decimal | float
    output_usd_per_mtok: Decimal | float
    cache_read_usd_per_mtok: Decimal | float | None = None
    cache_write_usd_per_mtok: Decimal | float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            price = getattr(self, name)
            if price is not None and not (math.isfinite(price) and price >= 0):
                raise ValueError(f"{name} = {price} is no price: write a number of 0 or more")

    @property
    def is_free(self) -> bool:
        return _is_free(_fixed_rates(self))

    def cost_micro_usd(self, usage: Usage) -> int:
        return _fixed_rates(self).cost(usage)

    def worst_micro_usd(self, *, input_tokens_max: int, output_tokens_max: int) -> int:
        rates = _fixed_rates(self)
        return rates.worst(input_tokens=input_tokens_max, output_tokens=output_tokens_max)


@lru_cache(maxsize=256)
def _fixed_rates(price: FixedPrice) -> Rates:
    """Return the config's prices as rates; made once, as every call asks for them three times."""
    cache_write = _fraction(price.cache_write_usd_per_mtok, price.input_usd_per_mtok)
    return Rates.of(
        input=_fraction(price.input_usd_per_mtok),
        output=_fraction(price.output_usd_per_mtok),
        reasoning=_fraction(price.output_usd_per_mtok),
        cache_read=_fraction(price.cache_read_usd_per_mtok, price.input_usd_per_mtok),
        cache_write=cache_write,
        cache_write_dearest=cache_write,
    )


class TablePrice(msgspec.Struct, frozen=True, kw_only=True):
    """The price table's prices for a call that starts at the moment it was made for.

    `tiers` begin with that of the smallest requests; `later` are the tiers that come into force
    while the call may still run, the same ones for most models.
    """

    model: str
    tiers: tuple[Rates, ...]
    later: tuple[Rates, ...]

    @property
    def is_free(self) -> bool:
        return all(_is_free(rates) for rates in self.tiers + self.later)

    def cost_micro_usd(self, usage: Usage) -> int:
        first, *above = self.tiers
        reached = [rates for rates in above if usage.input_tokens > rates.above_input_tokens]
        return [first, *reached][-1].cost(usage)

    def worst_micro_usd(self, *, input_tokens_max: int, output_tokens_max: int) -> int:
        return max(
            _worst_of(tiers, input_tokens_max=input_tokens_max, output_tokens_max=output_tokens_max)
            for tiers in (self.tiers, self.later)
        )


def affordable_output_tokens(
    price: Price,
    *,
    input_tokens_max: int,
    free_micro_usd: int,
    output_tokens_max: int = TOKENS_MAX,
) -> int:
    """Return the largest bound on the output whose worst case fits, 0 if none does."""
    fitting = bisect_right(
        range(output_tokens_max + 1),
        free_micro_usd,
        key=lambda tokens: price.worst_micro_usd(
            input_tokens_max=input_tokens_max, output_tokens_max=tokens
        ),
    )
    return max(fitting - 1, 0)


def table_price(
    *,
    provider: str,
    provider_hint: str | None,
    model: str,
    at: datetime,
    is_batch: bool = False,
) -> TablePrice:
    """Return the kept table's price of `model` for a call that starts at `at`.

    `provider` is the name in the config. `provider_hint` finds the table's: its id there
    (`openai`), or the API's URL; None goes by the model's name. Prices change by date and, at some
    vendors, by the hour, so that what is returned is for one call and not to be kept. The first
    call loads the table: 0.3 s and 39 MB.

    With `is_batch` the vendor's batch prices are taken, which the table has for most models of
    Anthropic, Google, Groq, Mistral, OpenAI and xAI; a model without them is refused.

    Raises:
        PriceUnknown: the table lacks the model, or it bills what can't be bounded.
    """
    from genai_prices.data_snapshot import get_snapshot

    is_url = provider_hint is not None and "://" in provider_hint
    try:
        vendor, info = get_snapshot().find_provider_model(
            model, None, None if is_url else provider_hint, provider_hint if is_url else None
        )
    except LookupError as error:
        raise _unknown(provider, model) from error
    context = _BATCH if is_batch else None
    if is_batch and not _has_batch_prices(vendor, info, at):
        raise _unknown(provider, model, why="the price table has no batch prices for it")
    now, later = (
        _tiers(info.get_prices(moment, context), provider, model)
        for moment in (at, at + _CALL_SPAN)
    )
    return TablePrice(model=info.id, tiers=now, later=later)


def _tiers(prices: ModelPrice, provider: str, model: str) -> tuple[Rates, ...]:
    """Return the table's prices of a model as the rates of each tier."""
    keys = {key for key, price in vars(prices).items() if price is not None}
    extra = keys - _BILLED - _NEVER_SENT
    if extra or any(mark in model.lower() for mark in _SEARCHING):
        what = ", ".join(sorted(extra)) or "its own searches"
        raise _unknown(provider, model, why=f"it bills what can't be bounded ({what})")
    # An entry without prices stands for a subscription or a gap; neither says that it is free.
    if not {"input_mtok", "output_mtok"} <= keys:
        raise _unknown(provider, model)
    starts = {tier.start for price in vars(prices).values() for tier in _steps(price)}
    return tuple(_rates(prices, above) for above in sorted({-1, *starts}))


def _rates(prices: ModelPrice, above_input_tokens: int) -> Rates:
    def rate(*keys: str) -> list[Fraction]:
        """Return those of the prices that the table has, in this order."""
        found = (getattr(prices, key) for key in keys)
        return [_of_tier(price, above_input_tokens) for price in found if price is not None]

    plain, written = rate("input_mtok")[0], rate("output_mtok")[0]
    writes = rate("cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok")
    return Rates.of(
        above_input_tokens,
        input=plain,
        output=written,
        reasoning=[*rate("output_reasoning_mtok"), written][0],
        cache_read=[*rate("cache_read_mtok"), plain][0],
        cache_write=[*writes, plain][0],
        cache_write_dearest=max([*writes, plain]),
        request=sum((fee * 1000 for fee in rate("requests_kcount")), Fraction(0)),
    )


def _of_tier(price: Decimal | TieredPrices, above_input_tokens: int) -> Fraction:
    """Return the price of requests just above that much input: tiers flip the whole request."""
    amount = price if isinstance(price, Decimal) else price.base
    for tier in _steps(price):
        if above_input_tokens >= tier.start:
            amount = tier.price
    return Fraction(amount)


def _worst_of(tiers: tuple[Rates, ...], *, input_tokens_max: int, output_tokens_max: int) -> int:
    """Return the dearest of the tiers within reach, each at the most input that it takes."""
    ends = [*(rates.above_input_tokens for rates in tiers[1:]), input_tokens_max]
    return max(
        rates.worst(input_tokens=min(end, input_tokens_max), output_tokens=output_tokens_max)
        for rates, end in zip(tiers, ends, strict=True)
        if input_tokens_max > rates.above_input_tokens
    )


def _has_batch_prices(vendor: Provider, info: ModelInfo, at: datetime) -> bool:
    """Return whether the table has batch prices in force; another vendor's don't count."""
    if not any(info is own for own in vendor.models):
        return False
    return any(
        variant.when == _BATCH and (variant.constraint is None or variant.constraint.active(at))
        for variant in info.price_variants or ()
    )


def _steps(price: Decimal | TieredPrices | None) -> list[Tier]:
    return [] if price is None or isinstance(price, Decimal) else price.tiers


def _is_free(rates: Rates) -> bool:
    return rates.worst(input_tokens=1, output_tokens=1) == 0


def _fraction(usd_per_mtok: Decimal | float | None, or_else: Decimal | float = 0) -> Fraction:
    amount = or_else if usd_per_mtok is None else usd_per_mtok
    return Fraction(amount if isinstance(amount, Decimal) else Decimal(str(amount)))


def _unknown(provider: str, model: str, *, why: str = "") -> PriceUnknown:
    reason = f"{why}; " if why else ""
    return PriceUnknown(
        model=model,
        fix=f"{reason}say it under [providers.{provider}]: "
        "`price = { input_usd_per_mtok = .., output_usd_per_mtok = .. }`, "
        'or `price = "free"` where it costs nothing',
    )
