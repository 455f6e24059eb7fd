"""The audit finds the same damage in both databases."""

from __future__ import annotations

import pytest

from tests.contract.shared_rules import rules_of
from tests.databases import RawConnection
from tests.unit.governance import test_audit
from tests.unit.governance.recorded_life import RecordedLife

#: Values of a wrong type, which only SQLite can hold.
ONLY_SQLITE = (
    "test_damaged_event_is_a_finding_and_the_reading_goes_on",
    "test_damaged_row_is_a_finding_and_the_reading_goes_on",
)

globals().update(rules_of(test_audit, but=ONLY_SQLITE))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE events SET payload = '{\"worker\":' WHERE kind = 'checkpoint_created'", "payload"),
        ("UPDATE events SET kind = 'unheard_of' WHERE kind = 'checkpoint_created'", "not known"),
        ("UPDATE holds SET status = 'lost' WHERE id = 'digest#1/1'", "can't be read"),
        ("UPDATE sessions SET counters = 'x' WHERE worker = 'triage'", "counters"),
    ],
)
async def test_what_can_not_be_read_is_a_finding_and_the_reading_goes_on(
    day: RecordedLife, damage: RawConnection, change: str, what: str
) -> None:
    whole = await day.audit()
    assert whole.is_clean
    assert damage.run(change) > 0
    report = await day.audit()
    assert what in report.findings[0].what
    assert report.events == whole.events
    assert (report.holds, report.accounts) == (whole.holds, whole.accounts)
