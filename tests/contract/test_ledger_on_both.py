"""The ledger keeps its rules on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.driven_store import DrivenStore
from tests.contract.shared_rules import rules_of
from tests.databases import BROKEN_RULES
from tests.unit.ledger import test_ledger
from tests.unit.ledger.test_ledger import Till, budgets

#: What the schema itself refuses is in test_schema.py.
OF_THE_SCHEMA = (
    "test_the_database_itself_refuses_to_end_a_hold_twice",
    "test_the_database_itself_refuses_an_account_above_its_limit",
    "test_amounts_are_never_negative_in_the_store",
)

globals().update(rules_of(test_ledger, but=OF_THE_SCHEMA))


@pytest.fixture(autouse=True)
def _driven(make_driven: Callable[[], DrivenStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each till have a real driver's store instead of one in memory."""
    monkeypatch.setattr(test_ledger, "DirectStore", make_driven)


@pytest.fixture
def till() -> Till:
    return Till(budgets())


def test_an_amount_below_zero_is_refused_and_leaves_nothing(till: Till) -> None:
    till.held(5)
    with pytest.raises(BROKEN_RULES):
        till.reserve(-1)
    assert till.account().held == 5


def test_large_amounts_are_added_without_loss(till: Till) -> None:
    # Beyond 32 bits, and beyond what a float holds exactly.
    large = 2**53 + 1
    till.limits = budgets(cap=2**60, session=2**60)
    till.settle(till.held(large), large)
    till.settle(till.held(large), large)
    assert till.account().settled == 2 * large
