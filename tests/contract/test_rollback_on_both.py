"""A rollback restores the state and nothing else, on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.governance import test_rollback

globals().update(rules_of(test_rollback))
