"""An operator's command is done once, and its id belongs to its content, on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.driven_store import DrivenStore
from tests.contract.shared_rules import rules_of
from tests.unit.governance import test_commands

globals().update(rules_of(test_commands))


@pytest.fixture
def direct(make_driven: Callable[[], DrivenStore]) -> DrivenStore:
    return make_driven()
