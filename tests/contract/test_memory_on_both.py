"""A worker's memory is its own, on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.worker import test_memory

globals().update(rules_of(test_memory))
