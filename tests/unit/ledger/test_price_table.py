"""The price table: exact for what was used, unknown where nobody knows."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from supervisor.errors import PriceUnknown
from supervisor.ledger.pricing import (
    Rates,
    TablePrice,
)
from supervisor.providers.provider import Usage
from tests.unit.ledger.price_calls import price_of, used

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
    rates = Rates.of(
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
