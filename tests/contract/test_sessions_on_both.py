"""A session opens, pauses, resumes and is sealed by the same rules on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.driven_store import DrivenStore
from tests.contract.shared_rules import rules_of
from tests.unit.governance import test_session_moves

#: What the schema itself refuses is in test_schema.py.
OF_THE_SCHEMA = (
    "test_code_and_database_allow_the_same_moves",
    "test_a_worker_has_one_open_session_at_most",
    "test_events_can_be_neither_changed_nor_deleted",
)

globals().update(rules_of(test_session_moves, but=OF_THE_SCHEMA))


@pytest.fixture(autouse=True)
def _driven(make_driven: Callable[[], DrivenStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test have a real driver's store instead of one in memory."""
    monkeypatch.setattr(test_session_moves, "DirectStore", make_driven)
