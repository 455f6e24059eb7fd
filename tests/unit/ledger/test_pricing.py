"""Prices: exact for what was used, honest about the worst, unknown where nobody knows."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import genai_prices
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import PriceUnknown
from supervisor.ledger.pricing import (
    FixedPrice,
    FreePrice,
    Price,
    Rates,
    TablePrice,
    affordable_output_tokens,
    table_price,
)
from supervisor.providers.provider import Usage

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def price_of(
    model: str, hint: str | None = None, *, at: datetime = AT, is_batch: bool = False
) -> TablePrice:
    return table_price(provider="paid", provider_hint=hint, model=model, at=at, is_batch=is_batch)


def used(
    tokens_in: int, tokens_out: int, *, read: int = 0, written: int = 0, thought: int = 0
) -> Usage:
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=thought,
    )


# Golden cases. List prices in USD per million tokens, which is micro-USD per token.


@pytest.mark.parametrize(
    ("usage", "micro_usd"),
    [
        # gpt-4o: input 2.50, cached input 1.25, output 10 (reasoning is output).
        (used(1_000, 500), 1_000 * 2.5 + 500 * 10),
        (used(1_000, 500, read=200), 800 * 2.5 + 200 * 1.25 + 500 * 10),
        (used(1_000, 500, thought=300), 2_500 + 5_000),
        (used(1, 0), 3),  # 2.5, rounded up
        (used(0, 0), 0),
    ],
)
def test_openai_settles_exactly(usage: Usage, micro_usd: float) -> None:
    assert price_of("gpt-4o", "openai").cost_micro_usd(usage) == micro_usd


@pytest.mark.parametrize(
    ("usage", "micro_usd"),
    [
        # claude-sonnet-4-5 up to 200,000 input tokens: input 3, cache read 0.30, five-minute cache
        # write 3.75, output 15; above: 6, 0.60, 7.50, 22.50 for the whole request.
        (used(3_210, 40, read=3_000, written=200), 10 * 3 + 3_000 * 0.3 + 200 * 3.75 + 40 * 15),
        (used(200_000, 1_000), 200_000 * 3 + 1_000 * 15),
        (used(200_001, 1_000), 200_001 * 6 + 1_000 * 22.5),
        (
            used(200_001, 1_000, read=150_000, written=50_000),
            1 * 6 + 150_000 * 0.6 + 50_000 * 7.5 + 1_000 * 22.5,
        ),
        (used(1_000, 100, thought=90), 3_000 + 1_500),
    ],
)
def test_anthropic_settles_exactly(usage: Usage, micro_usd: float) -> None:
    assert price_of("claude-sonnet-4-5", "anthropic").cost_micro_usd(usage) == micro_usd


@pytest.mark.parametrize(
    ("usage", "micro_usd"),
    [
        # gemini-2.5-pro up to 200,000 input tokens: 1.25, cached 0.125, 10; above: 2.50, 0.25, 15.
        (used(200_000, 1_000, read=100_000), 100_000 * 1.25 + 100_000 * 0.125 + 10_000),
        (used(200_001, 1_000, read=100_000), math.ceil(100_001 * 2.5 + 100_000 * 0.25 + 15_000)),
    ],
)
def test_google_settles_exactly(usage: Usage, micro_usd: float) -> None:
    assert price_of("gemini-2.5-pro", "google").cost_micro_usd(usage) == micro_usd


def test_compatible_vendors_settle_exactly() -> None:
    # xAI's grok-4-0709: 3, cached 0.75, 15. Groq's llama-3.3-70b-versatile: 0.59, 0.79.
    grok = price_of("grok-4-0709", "x-ai")
    llama = price_of("llama-3.3-70b-versatile", "groq")
    assert grok.cost_micro_usd(used(279, 95, read=9, thought=89)) == math.ceil(
        270 * 3 + 9 * 0.75 + 95 * 15
    )
    assert llama.cost_micro_usd(used(1_000, 1_000)) == 590 + 790


def test_tier_that_begins_above_272000_tokens_flips_the_whole_request() -> None:
    # gpt-5.4: 2.50 and 15; above 272,000 input tokens 5 and 22.50.
    price = price_of("gpt-5.4", "openai")
    assert price.cost_micro_usd(used(272_000, 1_000)) == 272_000 * 2.5 + 15_000
    assert price.cost_micro_usd(used(272_001, 1_000)) == 272_001 * 5 + 22_500


def test_second_tier_counts_too() -> None:
    # qwen3.7-flash at OpenRouter: 0.03 and 0.13; above 32,000 0.10 and 0.40; above 256,000 0.20
    # and 0.80.
    price = price_of("qwen/qwen3.7-flash", "openrouter")
    assert price.cost_micro_usd(used(32_000, 100)) == 960 + 13
    assert price.cost_micro_usd(used(32_001, 100)) == math.ceil(3_200.1 + 40)
    assert price.cost_micro_usd(used(256_001, 100)) == math.ceil(51_200.2 + 80)


def test_fee_per_request_is_in_cost_and_worst_case() -> None:
    # Perplexity's sonar: 1 and 1, and 12 USD per 1,000 requests.
    price = price_of("sonar", "perplexity")
    assert price.cost_micro_usd(used(10, 10)) == 12_000 + 20
    assert price.worst_micro_usd(input_tokens_max=10, output_tokens_max=10) == 12_000 + 20


def test_reasoning_has_its_own_rate_where_the_vendor_has_one() -> None:
    rate = Fraction
    rates = Rates(
        input=rate(2),
        output=rate(8),
        reasoning=rate(3),
        cache_read=rate(2),
        cache_write=rate(2),
        cache_write_dearest=rate(2),
    )
    price = TablePrice(model="deep", tiers=(rates,), later=(rates,))
    assert price.cost_micro_usd(used(10, 100, thought=60)) == 20 + 60 * 3 + 40 * 8


def test_batch_settles_at_the_batch_prices() -> None:
    # Half of the standard price: gpt-4o 1.25 and 5, with cached input at its standard 1.25;
    # claude-sonnet-4-5 1.50, 0.15, 1.875 and 7.50.
    gpt = price_of("gpt-4o", "openai", is_batch=True)
    claude = price_of("claude-sonnet-4-5", "anthropic", is_batch=True)
    assert gpt.cost_micro_usd(used(1_000, 500, read=200)) == 800 * 1.25 + 200 * 1.25 + 2_500
    assert claude.cost_micro_usd(used(1_400, 100, read=600, written=400)) == 600 + 90 + 750 + 750


def test_batch_prices_that_nobody_knows_are_not_made_up() -> None:
    with pytest.raises(PriceUnknown, match="no batch prices"):
        price_of("deepseek-v4-flash", "deepseek", is_batch=True)
    before_the_table_knew = datetime(2026, 10, 1, tzinfo=UTC)
    with pytest.raises(PriceUnknown, match="no batch prices"):
        price_of("gpt-4o", "openai", at=before_the_table_knew, is_batch=True)


def test_price_is_that_of_the_calls_day() -> None:
    # o3 cost 10 and 40 until 2025-06-10, and 2 and 8 from then on.
    before = price_of("o3", "openai", at=datetime(2025, 6, 1, tzinfo=UTC))
    after = price_of("o3", "openai", at=datetime(2025, 7, 1, tzinfo=UTC))
    assert before.cost_micro_usd(used(100, 100)) == 5_000
    assert after.cost_micro_usd(used(100, 100)) == 1_000


def test_worst_case_covers_a_dearer_hour_that_may_begin_during_the_call() -> None:
    # deepseek-v4-flash: off-peak 0.15 and 0.60, at 01:00 to 04:00 UTC 0.30 and 1.20.
    price = price_of("deepseek-v4-flash", "deepseek", at=datetime(2026, 11, 21, 0, 30, tzinfo=UTC))
    assert price.cost_micro_usd(used(1_000, 1_000)) == 750
    assert price.worst_micro_usd(input_tokens_max=1_000, output_tokens_max=1_000) == 1_500


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
        return Rates(
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


# What nobody knows.


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("no-such-model", None),
        ("no-such-model", "openai"),
        ("gpt-4o", "no-such-vendor"),
        ("gpt-4o", "http://127.0.0.1:11434/v1"),
        ("qwen-3-coder-480b", "cerebras"),  # in the table, without any price
        ("", None),
    ],
)
def test_price_that_the_table_lacks_is_unknown(model: str, hint: str | None) -> None:
    with pytest.raises(PriceUnknown) as raised:
        price_of(model, hint)
    text = str(raised.value)
    assert f"model {model}: its price is unknown" in text
    assert "[providers.paid]" in text
    assert "price = { input_usd_per_mtok = .., output_usd_per_mtok = .. }" in text
    assert 'price = "free"' in text


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("gpt-4o-search-preview", "openai"),
        ("gpt-4o-mini-search-preview", "openai"),
        ("sonar-deep-research", "perplexity"),
        ("gemini-2.5-flash-image", "google"),
        ("gpt-audio-mini", "openai"),
    ],
)
def test_model_that_bills_more_than_text_is_refused(model: str, hint: str) -> None:
    with pytest.raises(PriceUnknown, match="bills what can't be bounded"):
        price_of(model, hint)


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("gpt-4o", None),
        ("gpt-4o", "openai"),
        ("gpt-4o", "https://api.openai.com/v1"),
        ("gpt-4o", "https://me.openai.azure.com/openai/v1"),
        ("openai/gpt-4o", "litellm"),
    ],
)
def test_table_is_found_by_name_address_or_model(model: str, hint: str | None) -> None:
    assert price_of(model, hint).cost_micro_usd(used(1_000, 0)) == 2_500


def test_table_is_loaded_only_when_a_price_is_asked_of_it() -> None:
    code = "import sys, supervisor.ledger.pricing; print('genai_prices' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
