"""The audit misses the command row without which the same command would be carried out again."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.clock import VirtualClock
from supervisor.governance import drills
from supervisor.governance.audit import audit
from supervisor.governance.drills import Drill, Verdict
from supervisor.storage.database import Database
from tests.contract.job_cases import CASES
from tests.contract.policy_bench import CALM, UTC_ZONE, PolicyBench
from tests.contract.writes import found_operations
from tests.databases import RawConnection


@pytest.fixture
def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    bench = PolicyBench(database, clock, tmp_path)
    bench.use(CALM)
    return bench


@pytest.mark.parametrize("operation", sorted(found_operations()))
async def test_a_command_whose_row_is_gone_or_says_another_operation_is_named(
    bench: PolicyBench, raw: RawConnection, operation: str
) -> None:
    # A new operation stands with its event in governance/audit_states.py.
    case = await CASES[operation](bench)
    await case.send("c-1", case.content)
    assert await findings(bench) == []
    raw.run("UPDATE commands SET operation = 'x' WHERE id = 'c-1'")
    assert await findings(bench) == [f"command c-1: its row says x, its event {operation}"]
    raw.run("DELETE FROM commands WHERE id = 'c-1'")
    assert await findings(bench) == ["command c-1: has an event but no row"]


async def test_a_drill_that_failed_is_a_command_too(bench: PolicyBench, raw: RawConnection) -> None:
    origin = bench.origin(command_id="c-1")
    await bench.store.write(drills.begin, Drill.KILL, origin, UTC_ZONE)
    verdict = Verdict(drill=Drill.KILL, id="c-1", passed=False, measured_s=0.0, what="x")
    await bench.store.write(drills.finish, verdict, origin, UTC_ZONE)
    assert await findings(bench) == []
    raw.run("DELETE FROM commands WHERE id = 'c-1'")
    assert await findings(bench) == ["command c-1: has an event but no row"]


async def findings(bench: PolicyBench) -> list[str]:
    return [f"{one.subject}: {one.what}" for one in (await bench.store.read(audit)).findings]
