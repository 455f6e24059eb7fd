"""The rules of tests/unit/governance/test_drills.py, on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.governance import test_drills

globals().update(rules_of(test_drills))
