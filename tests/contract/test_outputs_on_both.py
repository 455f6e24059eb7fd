"""What was published is remembered, on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.worker import test_handed_over

globals().update(rules_of(test_handed_over))
