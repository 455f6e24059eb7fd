"""Money: a cost is never understated, a cap never overstated."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.money import limit_micro_usd, micro_usd, to_usd, usd_text

floats = st.floats(0, 1e9, allow_nan=False)
decimals = st.decimals(0, 10**9, allow_nan=False, allow_infinity=False)
integers = st.integers(0, 10**9)
amounts = st.one_of(floats, decimals, integers)


def exactly(usd: float | Decimal) -> Fraction:
    """Return what the amount's decimal form says, in micro-USD."""
    return Fraction(str(usd)) * 1_000_000


@given(usd=amounts)
def test_a_cost_is_never_understated_and_never_a_whole_unit_above(usd: float | Decimal) -> None:
    assert 0 <= micro_usd(usd) - exactly(usd) < 1


@given(usd=amounts)
def test_a_cap_is_never_overstated_and_never_a_whole_unit_below(usd: float | Decimal) -> None:
    assert 0 <= exactly(usd) - limit_micro_usd(usd) < 1


@pytest.mark.parametrize(
    ("usd", "micro"),
    [
        (Decimal("0.0000010000000000000000000000000000001"), 2),
        (Decimal("123456789.0000000000000000000000000001"), 123_456_789_000_001),
    ],
)
def test_no_digit_is_too_far_behind_the_point_to_be_rounded_up(usd: Decimal, micro: int) -> None:
    assert micro_usd(usd) == micro


def test_a_cap_of_very_many_nines_is_not_the_next_unit() -> None:
    assert limit_micro_usd(Decimal("0." + "9" * 40)) == 999_999


@given(micro=st.integers(0, 10**14))
def test_whole_units_stay_as_they_are(micro: int) -> None:
    usd = Decimal(micro) / 1_000_000
    assert micro_usd(usd) == limit_micro_usd(usd) == micro


@given(first=floats, second=floats)
def test_a_greater_cost_is_never_the_smaller_amount(first: float, second: float) -> None:
    assert micro_usd(max(first, second)) >= micro_usd(min(first, second))


@given(micro=st.integers(-(10**15), 10**15))
def test_the_float_for_json_gives_the_amount_back(micro: int) -> None:
    assert round(to_usd(micro) * 1_000_000) == micro


@given(micro=st.integers(-(10**15), 10**15))
def test_the_text_says_the_amount_exactly(micro: int) -> None:
    number, unit = usd_text(micro).split(" ")
    assert Decimal(number) * 1_000_000 == micro
    assert unit == "USD"
    assert 2 <= len(number.partition(".")[2]) <= 6


@pytest.mark.parametrize(
    ("usd", "micro"),
    [(0.1, 100_000), ("0.1", 100_000), (1, 1_000_000), (1e-9, 1), (0, 0), (0.0, 0), (3e-7, 1)],
)
def test_a_float_is_read_by_its_shortest_decimal_form(usd: float | str, micro: int) -> None:
    assert micro_usd(usd) == micro


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (1_200_000, "1.20 USD"),
        (0, "0.00 USD"),
        (1, "0.000001 USD"),
        (350_000, "0.35 USD"),
        (1_234_567, "1.234567 USD"),
        (-1_500_000, "-1.50 USD"),
        (-1, "-0.000001 USD"),
    ],
)
def test_a_text_has_two_decimals_or_as_many_as_it_needs(micro: int, text: str) -> None:
    assert usd_text(micro) == text
