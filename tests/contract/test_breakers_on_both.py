"""Breakers open, are probed and close by the same rules on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.worker import test_breaker_causes, test_breakers

globals().update(rules_of(test_breakers))
globals().update(rules_of(test_breaker_causes))
