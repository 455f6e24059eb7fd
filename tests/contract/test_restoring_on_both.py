"""The rules of tests/unit/governance/test_restoring.py, on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.governance import test_restoring
from tests.unit.governance.test_restoring import spent  # noqa: F401 - a fixture

globals().update(rules_of(test_restoring))
