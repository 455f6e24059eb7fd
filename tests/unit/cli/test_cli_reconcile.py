"""`reconcile` puts a forfeited hold right, and says of every other why not."""

from __future__ import annotations

import pytest

from tests.unit.cli.site import Site
from tests.unit.governance.recorded_life import RecordedLife


async def one_call_in_doubt(life: RecordedLife) -> None:
    """A life that ended while a call was under way, and the next one that found it."""
    await life.start("digest")
    await life.placed("digest", await life.started("digest"), 40_000)
    await life.start("digest")


async def one_call_under_way(life: RecordedLife) -> None:
    await life.start("digest")
    await life.placed("digest", await life.started("digest"), 40_000)


def test_forfeited_hold_is_put_at_what_it_cost(site: Site) -> None:
    site.live(one_call_in_doubt)
    called = site.call("reconcile", "digest#1/1", "--actual-usd", "0.01")
    assert (called.code, called.err) == (0, "")
    assert called.out == "hold digest#1/1: was 0.04 USD, is 0.01 USD now\n"
    assert site.call("reconcile", "digest#1/1", "--actual-usd", "0.01").code == 0
    called = site.call("reconcile", "digest#1/1", "--actual-usd", "0.02")
    assert called.code == 1
    assert "is settled at 0.01 USD; only a forfeited hold can be reconciled" in called.err


def test_settled_hold_is_left_as_it_is(lived: Site) -> None:
    called = lived.call("reconcile", "digest#1/1", "--actual-usd", "1")
    assert called.code == 1
    assert "hold digest#1/1: is settled at 0.0015 USD; only a forfeited hold" in called.err
    assert "`supervisor events --kind hold_forfeited`" in called.err


def test_hold_of_a_call_under_way_is_left_as_it_is(site: Site) -> None:
    site.live(one_call_under_way)
    called = site.call("reconcile", "digest#1/1", "--actual-usd", "0.01")
    assert called.code == 1
    assert "is open; only a forfeited hold can be reconciled" in called.err


def test_the_same_command_again_is_answered_as_the_first_time(site: Site) -> None:
    site.live(one_call_in_doubt)
    words = ("reconcile", "digest#1/1", "--actual-usd", "0.01", "--command-id", "c-1")
    assert site.call(*words).out == site.call(*words).out


@pytest.mark.parametrize("amount", ["1,5", "", "-1", "nan", "inf", "one", "1e20"])
def test_what_is_no_amount_is_a_usage_error(lived: Site, amount: str) -> None:
    called = lived.call("reconcile", "digest#1/1", f"--actual-usd={amount}")
    assert called.code == 64
    assert f"{amount!r} is no amount: write USD such as 1.5" in called.err
