"""A paid call is held, made and settled by the same rules on both databases."""

from __future__ import annotations

from tests.contract.shared_rules import rules_of
from tests.unit.worker import test_calls, test_fallback, test_fallback_streams
from tests.unit.worker.fleet import fleet

__all__ = ["fleet"]

globals().update(rules_of(test_calls))
globals().update(rules_of(test_fallback))
globals().update(rules_of(test_fallback_streams))
