"""Prices: honest about the worst case, and exact in the config's own."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import genai_prices
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.ledger.pricing import (
    FixedPrice,
    FreePrice,
    Price,
    Rates,
    TablePrice,
    affordable_output_tokens,
)
from supervisor.providers.provider import Usage
from tests.unit.ledger.price_calls import AT, price_of, used

# The worst case.


def test_worst_case_is_the_dearest_tier_within_reach_at_the_dearest_cache_write() -> None:
    # An hour-long cache write costs twice the input: 6, and above 200,000 tokens 12.
    price = price_of("claude-sonnet-4-5", "anthropic")
    small = price.worst_micro_usd(input_tokens_max=1_000, output_tokens_max=1_000)
    below = price.worst_micro_usd(input_tokens_max=200_000, output_tokens_max=1_000)
    above = price.worst_micro_usd(input_tokens_max=200_001, output_tokens_max=1_000)
    assert small == 1_000 * 6 + 1_000 * 15
    assert below == 200_000 * 6 + 1_000 * 15
    assert above == 200_001 * 12 + 1_000 * 22.5


def test_tier_that_is_cheaper_does_not_lower_the_worst_case() -> None:
    def flat(above: int, usd: int) -> Rates:
        rate = Fraction(usd)
        return Rates.of(
            above_input_tokens=above,
            input=rate,
            output=rate,
            reasoning=rate,
            cache_read=rate,
            cache_write=rate,
            cache_write_dearest=rate,
        )

    tiers = (flat(-1, 10), flat(100, 1))
    price = TablePrice(model="odd", tiers=tiers, later=tiers)
    assert price.worst_micro_usd(input_tokens_max=101, output_tokens_max=5) == 1_050
    assert price.cost_micro_usd(used(100, 5)) == 1_050


MODELS = [
    ("claude-sonnet-4-5", "anthropic"),
    ("claude-haiku-5-5", "anthropic"),
    ("gpt-4o", "openai"),
    ("gpt-5.4", "openai"),
    ("gemini-2.5-pro", "google"),
    ("grok-4-0709", "x-ai"),
    ("deepseek-chat", "deepseek"),
    ("sonar", "perplexity"),
    ("qwen/qwen3.7-flash", "openrouter"),
]
FIXED = [
    FixedPrice(input_usd_per_mtok=0.1, output_usd_per_mtok=0.3),
    FixedPrice(
        input_usd_per_mtok=Decimal("3"),
        output_usd_per_mtok=Decimal("15"),
        cache_read_usd_per_mtok=Decimal("0.3"),
        cache_write_usd_per_mtok=Decimal("6.000000000000000000000000000001"),
    ),
    FixedPrice(input_usd_per_mtok=0, output_usd_per_mtok=0, cache_read_usd_per_mtok=9),
]
EVERY_PRICE: list[Price] = [FreePrice(), *FIXED, *(price_of(m, hint) for m, hint in MODELS)]

prices = st.sampled_from(EVERY_PRICE)
# Thresholds of tiers, and their neighbours, are where the bounds could slip.
input_bounds = st.integers(0, 700_000) | st.sampled_from(
    [start + step for start in (32_000, 200_000, 256_000, 272_000) for step in (-1, 0, 1)]
)


@given(data=st.data(), price=prices, input_max=input_bounds, output_max=st.integers(0, 200_000))
def test_no_usage_within_the_bounds_costs_more_than_the_worst_case(
    data: st.DataObject, price: Price, input_max: int, output_max: int
) -> None:
    tokens_in = data.draw(st.integers(0, input_max) | st.just(input_max), label="input")
    tokens_out = data.draw(st.integers(0, output_max) | st.just(output_max), label="output")
    read = data.draw(st.integers(0, tokens_in) | st.just(tokens_in), label="read")
    written = data.draw(st.integers(0, tokens_in - read) | st.just(tokens_in - read), label="write")
    thought = data.draw(st.integers(0, tokens_out), label="reasoning")
    cost = price.cost_micro_usd(
        used(tokens_in, tokens_out, read=read, written=written, thought=thought)
    )
    assert cost >= 0
    assert cost <= price.worst_micro_usd(input_tokens_max=input_max, output_tokens_max=output_max)


@given(
    price=prices,
    input_max=input_bounds,
    output_max=st.integers(0, 200_000),
    more_input=st.integers(0, 100_000),
    more_output=st.integers(0, 100_000),
)
def test_worst_case_grows_with_both_bounds(
    price: Price, input_max: int, output_max: int, more_input: int, more_output: int
) -> None:
    less = price.worst_micro_usd(input_tokens_max=input_max, output_tokens_max=output_max)
    more = price.worst_micro_usd(
        input_tokens_max=input_max + more_input, output_tokens_max=output_max + more_output
    )
    assert less <= more


@given(
    model=st.sampled_from([pair for pair in MODELS if pair[1] != "perplexity"]),
    tokens_in=input_bounds,
    tokens_out=st.integers(0, 200_000),
    shares=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)),
)
def test_cost_is_the_tables_own_rounded_up(
    model: tuple[str, str], tokens_in: int, tokens_out: int, shares: tuple[float, float]
) -> None:
    read, written = (int(tokens_in * share) for share in shares)
    reference = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            cache_read_tokens=read,
            cache_write_tokens=written,
        ),
        model[0],
        provider_id=model[1],
        genai_request_timestamp=AT,
    )
    cost = price_of(*model).cost_micro_usd(used(tokens_in, tokens_out, read=read, written=written))
    assert cost == math.ceil(reference.total_price * 1_000_000)


# What the rest of a budget buys.


@given(
    price=prices,
    input_max=input_bounds,
    output_max=st.integers(0, 200_000),
    free=st.integers(-10, 20_000_000),
)
def test_affordable_output_is_the_largest_that_fits(
    price: Price, input_max: int, output_max: int, free: int
) -> None:
    def fits(tokens: int) -> bool:
        worst = price.worst_micro_usd(input_tokens_max=input_max, output_tokens_max=tokens)
        return worst <= free

    tokens = affordable_output_tokens(
        price, input_tokens_max=input_max, output_tokens_max=output_max, free_micro_usd=free
    )
    assert 0 <= tokens <= output_max
    assert tokens == 0 or fits(tokens)
    assert tokens == output_max or not fits(tokens + 1)


def test_nothing_is_affordable_where_the_input_alone_does_not_fit() -> None:
    price = FixedPrice(input_usd_per_mtok=1, output_usd_per_mtok=1)
    assert affordable_output_tokens(price, input_tokens_max=100, free_micro_usd=99) == 0
    assert affordable_output_tokens(price, input_tokens_max=100, free_micro_usd=100) == 0
    assert affordable_output_tokens(price, input_tokens_max=100, free_micro_usd=101) == 1


# Prices of the config.


def test_fixed_price_reads_a_float_as_it_is_written() -> None:
    price = FixedPrice(input_usd_per_mtok=0.1, output_usd_per_mtok=0.3)
    # In binary floats 0.1 x 30 + 0.3 x 10 is above 6, which would round up to 7.
    assert price.cost_micro_usd(used(30, 10)) == 6


def test_fixed_price_without_cache_prices_takes_the_inputs() -> None:
    price = FixedPrice(input_usd_per_mtok=2, output_usd_per_mtok=8)
    assert price.cost_micro_usd(used(10, 1, read=5, written=5)) == 28


def test_fixed_price_has_cache_prices_of_its_own() -> None:
    price = FixedPrice(
        input_usd_per_mtok=2,
        output_usd_per_mtok=8,
        cache_read_usd_per_mtok=0.5,
        cache_write_usd_per_mtok=2.5,
    )
    assert price.cost_micro_usd(used(20, 1, read=8, written=4)) == 16 + 4 + 10 + 8
    assert price.worst_micro_usd(input_tokens_max=20, output_tokens_max=1) == 50 + 8


def test_fixed_price_reads_from_toml() -> None:
    text = b"input_usd_per_mtok = 0.1\noutput_usd_per_mtok = 3"
    price = msgspec.toml.decode(text, type=FixedPrice)
    assert price.cost_micro_usd(used(10, 1)) == 4


@pytest.mark.parametrize("bad", [-1, -0.1, math.nan, math.inf, Decimal("NaN")])
def test_fixed_price_that_is_no_price_is_refused(bad: Decimal | float) -> None:
    with pytest.raises(ValueError, match="is no price"):
        FixedPrice(input_usd_per_mtok=bad, output_usd_per_mtok=1)


def test_free_is_what_can_not_cost_anything() -> None:
    assert FreePrice().is_free
    assert FixedPrice(input_usd_per_mtok=0, output_usd_per_mtok=0).is_free
    assert not FixedPrice(input_usd_per_mtok=0, output_usd_per_mtok=0.01).is_free
    assert not EVERY_PRICE[3].is_free
    assert not price_of("gpt-4o", "openai").is_free
    assert FreePrice().cost_micro_usd(used(9, 9)) == 0


@pytest.mark.parametrize(
    "usage",
    [used(-1, 0), used(0, -1), used(5, 0, read=6), used(5, 0, written=-1), used(0, 5, thought=6)],
)
def test_usage_that_can_not_be_is_never_a_refund(usage: Usage) -> None:
    with pytest.raises(AssertionError):
        price_of("gpt-4o", "openai").cost_micro_usd(usage)
