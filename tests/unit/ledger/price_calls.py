"""Prices of the table at one moment, and usages in short."""

from __future__ import annotations

from datetime import UTC, datetime

from supervisor.ledger.pricing import TablePrice, table_price
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
