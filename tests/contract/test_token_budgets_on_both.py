"""Token budgets and the governor keep their rules on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.governance import test_suggesting, test_token_tracker
from tests.unit.worker import test_context_budget, test_governed_calls, test_routing

globals().update(
    rules_of(
        test_token_tracker,
        # Of no store.
        but=(
            "test_a_store_that_can_not_be_read_says_no",
            "test_a_config_that_limits_nothing_or_is_none_is_refused",
        ),
    )
)
globals().update(rules_of(test_governed_calls))
globals().update(rules_of(test_context_budget))
globals().update(rules_of(test_routing, but=("test_the_first_rule_that_is_on_a_call_decides",)))
globals().update(
    rules_of(
        test_suggesting,
        but=(
            "test_a_suggestion_has_two_digits_and_is_never_below",
            "test_a_spread_is_by_nearest_rank_and_counts_what_was_above_its_limit",
            "test_a_suggestion_lets_19_of_20_pass",
        ),
    )
)
