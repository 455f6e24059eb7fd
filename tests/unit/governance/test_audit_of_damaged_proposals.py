"""The audit goes on behind a proposal, ticket, grant or risk that can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.clock import VirtualClock
from supervisor.governance.audit import audit
from supervisor.storage.database import Database
from tests.contract.policy_bench import PolicyBench
from tests.contract.test_audit_of_proposals import lived
from tests.unit.governance.recorded_life import Damage


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ("UPDATE proposals SET status = x'00' WHERE id = 'w:m3'", "proposals w:m3"),
        ("UPDATE tickets SET status = x'00' WHERE proposal_id = 'w:m3'", "tickets t-"),
        ("UPDATE session_grants SET count_used = 'many'", "grants t-"),
        ("UPDATE session_risks SET level = x'00'", "risks w@"),
    ],
)
async def test_what_can_not_be_read_is_named_and_the_rest_is_read(
    store: Database, clock: VirtualClock, tmp_path: Path, change: str, subject: str
) -> None:
    bench = PolicyBench(store, clock, tmp_path)
    await lived(bench)
    damage = Damage(tmp_path / "supervisor.db")
    assert damage.run(change) == 1
    damage.close()
    report = await store.read(audit)
    assert report.findings[0].subject.startswith(subject)
    assert "can't be read" in report.findings[0].what
