"""The rules of tests/unit/governance/test_clock_reset.py, on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.governance import test_clock_reset

globals().update(rules_of(test_clock_reset))
