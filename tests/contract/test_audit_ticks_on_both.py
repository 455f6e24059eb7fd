"""The audit of ticks finds the same damage in both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.governance import test_audit_ticks

globals().update(rules_of(test_audit_ticks))
