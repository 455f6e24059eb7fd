"""Which token counts of a provider are believed."""

from __future__ import annotations

from supervisor.providers.provider import Usage

TOKENS_MAX = 1_000_000_000
"""No call is this large; a count above it is an error of the provider's."""


def usage_or_unknown(
    *,
    input_tokens: int,
    output_tokens: int,
    cache_read_tokens: int = 0,
    cache_write_tokens: int = 0,
    reasoning_tokens: int = 0,
) -> Usage | None:
    """Return the counts as a `Usage`, or None where they can't be true.

    A negative count would be a refund, an absurd one an overrun, and parts that are larger than
    their whole would be priced twice: all three are unknown usage, so that the hold is forfeited
    (requirement L3) and never settled at an invented amount.
    """
    counts = (input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens)
    if not all(0 <= count <= TOKENS_MAX for count in counts):
        return None
    if cache_read_tokens + cache_write_tokens > input_tokens or reasoning_tokens > output_tokens:
        return None
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=cache_write_tokens,
        reasoning_tokens=reasoning_tokens,
    )
