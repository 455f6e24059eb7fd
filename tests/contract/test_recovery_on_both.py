"""What a dead life left behind is found and closed on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.maintenance import test_recovery

#: A store that fails when it is told to, which a real one does not.
NEEDS_A_BROKEN_STORE = ("test_what_was_recovered_before_the_store_failed_stays_recovered",)

globals().update(rules_of(test_recovery, but=NEEDS_A_BROKEN_STORE))
