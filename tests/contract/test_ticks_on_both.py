"""A tick begins, runs and ends by the same rules on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.worker import test_tick, test_why

globals().update(rules_of(test_tick))
globals().update(rules_of(test_why))
