"""`spend` shows accounts against limits, and what was spent by whom."""

from __future__ import annotations

import json
import tomllib

import pytest

from tests.unit.cli.site import Site
from tests.unit.governance.recorded_life import MODEL


def test_accounts_are_shown_against_their_limits(lived: Site) -> None:
    called = lived.call("spend")
    assert (called.code, called.err) == (0, "")
    assert "system/day/" in called.out
    assert "0.2515" in called.out
    assert "0.7485" in called.out
    assert max(map(len, called.out.splitlines())) <= 100


def test_json_has_both_micro_usd_and_usd(lived: Site) -> None:
    accounts = json.loads(lived.call("spend", "--json").out)["accounts"]
    cap = next(one for one in accounts if one["scope"] == "system")
    assert (cap["unit"], cap["limit"], cap["settled"]) == ("micro_usd", 1_000_000, 251_500)
    assert (cap["limit_usd"], cap["settled_usd"], cap["free_usd"]) == (1.0, 0.2515, 0.7485)
    actions = next(one for one in accounts if one["unit"] == "actions")
    assert (actions["settled"], actions["settled_usd"]) == (1, None)


@pytest.mark.parametrize(
    ("by", "first_key", "first_usd"),
    [("worker", "triage", 0.25), ("model", MODEL, 0.2515)],
)
def test_spend_is_shown_by_what_was_asked_for(
    lived: Site, by: str, first_key: str, first_usd: float
) -> None:
    answer = json.loads(lived.call("spend", "--by", by, "--json").out)
    assert answer["by"] == by
    assert (answer["spend"][0]["key"], answer["spend"][0]["cost_usd"]) == (first_key, first_usd)
    assert first_key in lived.call("spend", "--by", by).out


def test_spend_by_session_names_sessions(lived: Site) -> None:
    rows = json.loads(lived.call("spend", "--by", "session", "--json").out)["spend"]
    assert {row["key"].partition("@")[0] for row in rows} == {"digest", "triage"}
    assert all(row["calls"] == 1 and row["tokens"] == 60 for row in rows)


def test_spend_by_day_sums_to_what_was_spent(lived: Site) -> None:
    rows = json.loads(lived.call("spend", "--by", "day", "--json").out)["spend"]
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(0.2515)
    assert "DAY" in lived.call("spend", "--by", "day", "--days", "1000000").out


def test_days_without_by_are_refused(lived: Site) -> None:
    called = lived.call("spend", "--days", "3")
    assert called.code == 64
    assert "needs --by; add --by worker" in called.err


def test_store_that_does_not_exist_exits_1(site: Site) -> None:
    called = site.call("spend")
    assert called.code == 1
    assert "does not exist; start the daemon once with `supervisor run`" in called.err


def test_limits_are_suggested_as_lines_of_a_config(lived: Site) -> None:
    called = lived.call("spend", "--suggest")
    assert (called.code, called.err) == (0, "")
    assert "a session  USD" in called.out
    assert "2 (few)" in called.out
    suggested = tomllib.loads(called.out.partition("\n\n")[2])
    assert suggested["session"] == {"max_cost_usd": 0.38, "max_actions": 1}
    assert suggested["budget"] == [{"scope": "session", "period": "session", "max_tokens": 90}]
    answer = json.loads(lived.call("spend", "--suggest", "--json").out)
    assert answer["sessions"]["cost"]["peak"] == 250_000


def test_suggesting_is_not_listing(lived: Site) -> None:
    called = lived.call("spend", "--suggest", "--by", "user")
    assert called.code == 64
    assert "is not --by; ask for one of them" in called.err


@pytest.mark.parametrize("by", ["org", "team", "user", "conversation"])
def test_spend_of_nobody_is_named_none(lived: Site, by: str) -> None:
    rows = json.loads(lived.call("spend", "--by", by, "--json").out)["spend"]
    assert [(row["key"], row["cost_usd"]) for row in rows] == [("", 0.2515)]
    assert "(none)" in lived.call("spend", "--by", by).out
