"""Budgets for a program beside the daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor import Identity, TokenBudgetConfig, TokenBudgetExhausted, open_tracker
from supervisor.errors import ConfigError, StoreUnavailable

CONFIG = """
[spend]
daily_cap_usd = 1.0
[[budget]]
scope = "user:*"
period = "unlimited"
max_tokens = 50
[[token_budget]]
org = "acme"
period = "unlimited"
max_cost_usd = 0.5
allowed_models = ["builtin/*"]
[models]
standard = ["builtin/*"]
[providers.builtin]
kind = "builtin"
"""
ANN = Identity(org="acme", user="ann")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


async def test_it_goes_by_the_limits_of_the_file_and_by_further_ones(config: Path) -> None:
    more = [TokenBudgetConfig(Identity(org="acme"), "unlimited", max_tokens=30)]
    async with open_tracker(config, more) as tracker:
        await tracker.record_usage(ANN, model="builtin/x", input_tokens=30)
        check = await tracker.check_budget(ANN, model="other/x", cost_usd=0.6)
        assert [reason.split(" ")[0] for reason in check.reasons] == ["model", "account"]
    async with open_tracker(config) as tracker:
        assert (await tracker.check_budget(ANN, tokens=20)).allowed
        with pytest.raises(TokenBudgetExhausted):
            await tracker.record_usage({"user": "ann"}, input_tokens=21)


async def test_the_daily_cap_counts_what_is_reported(config: Path) -> None:
    async with open_tracker(config) as tracker:
        with pytest.raises(TokenBudgetExhausted, match="account system/day/"):
            await tracker.record_usage(cost_usd=1.5)


async def test_a_store_that_is_damaged_is_no_yes(config: Path) -> None:
    (config.parent / "var").mkdir()
    (config.parent / "var" / "supervisor.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnavailable):
        async with open_tracker(config):
            pass


async def test_a_file_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        async with open_tracker(tmp_path / "none.toml"):
            pass
