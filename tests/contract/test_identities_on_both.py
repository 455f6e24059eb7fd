"""Limits on whoever a call is made for hold on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from supervisor.identity import Identity
from supervisor.ledger.accounts import Unit
from supervisor.ledger.holds import Hold
from supervisor.ledger.periods import Period
from tests.contract.driven_store import DrivenStore
from tests.contract.shared_rules import rules_of
from tests.unit.ledger import test_identities, test_ledger
from tests.unit.ledger.test_identities import counter, refused_by
from tests.unit.ledger.test_ledger import budget, budgets
from tests.unit.worker import test_callers

globals().update(
    rules_of(
        test_identities,
        # Once for each of 216 limits: below, all of them are tried on one store.
        but=(
            "test_a_limit_counts_what_is_under_it_to_the_last_unit_and_nobody_else",
            "test_the_record_proves_for_whom_a_hold_was",
            "test_an_account_is_of_the_limit_that_made_it",
            "test_what_an_identity_leaves_out_is_the_workers_own",
        ),
    )
)
globals().update(rules_of(test_callers))


@pytest.fixture(autouse=True)
def _driven(make_driven: Callable[[], DrivenStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each till have a real driver's store instead of one in memory."""
    monkeypatch.setattr(test_ledger, "DirectStore", make_driven)


def test_every_scope_and_period_counts_to_the_last_unit() -> None:
    till = counter()
    for number, (kind, period) in enumerate(
        (kind, period)
        for kind in ("org", "team", "user", "conversation", "org:*,user")
        for period in Period
    ):
        name = f"n{number}"
        identity = Identity(org=name, team=name, user=name)
        unit = list(Unit)[number % len(Unit)]
        till.limits = budgets(budget(f"{kind}:{name}", period, unit, 10))
        assert isinstance(till.ask(10, identity, name), Hold)
        assert f":{name}/{period}/" in refused_by(till.ask(1, identity, name))
