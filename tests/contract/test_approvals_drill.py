"""The approvals drill: the sweep clears scratch tickets that nobody else ever sees."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from supervisor import Context
from supervisor.clock import SystemClock, VirtualClock
from supervisor.events.log import Origin, Recorded
from supervisor.governance import drills
from supervisor.governance.audit import audit
from supervisor.governance.backlog import read_backlog
from supervisor.governance.drills import Drill, DrillRecord, Verdict
from supervisor.maintenance.approvals_drill import ApprovalsDrill
from supervisor.maintenance.sweep_rehearsal import TICKETS, SweepRehearsal
from supervisor.storage.database import Database
from tests.contract.policy_bench import SURE, UTC_ZONE, PolicyBench
from tests.databases import Kind, RawConnection

#: Lets no ticket expire, without an error.
_ON_EXPIRY = "CREATE TRIGGER broken BEFORE UPDATE OF status ON tickets"
_FUNCTION = "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
_WHEN = "WHEN (NEW.status = 'expired')"
SABOTAGE = {
    "sqlite": (f"{_ON_EXPIRY} {_WHEN} BEGIN SELECT RAISE(IGNORE); END",),
    "postgres": (_FUNCTION, f"{_ON_EXPIRY} FOR EACH ROW {_WHEN} EXECUTE FUNCTION broken()"),
}


@pytest.fixture
def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    return PolicyBench(database, clock, tmp_path)


@pytest.fixture
def rehearsal(bench: PolicyBench) -> SweepRehearsal:
    return SweepRehearsal(bench.store, bench.clock, boot_id="boot-1", timezone=UTC_ZONE)


async def ask(bench: PolicyBench, drill_id: str = "d-1") -> None:
    origin = bench.origin(command_id=drill_id)
    assert await bench.store.write(drills.begin, Drill.APPROVALS, origin, UTC_ZONE) is None


async def verdict(bench: PolicyBench, drill_id: str = "d-1") -> Verdict:
    record = await bench.store.read(drills.find, drill_id)
    assert isinstance(record, DrillRecord)
    assert record.verdict is not None
    return record.verdict


async def ticket(bench: PolicyBench) -> None:
    async def work(ctx: Context) -> None:
        await ctx.propose("merge", **SURE)

    await bench.tick(work)


def counts(raw: RawConnection, kind: Kind) -> dict[str, int]:
    """Return how many rows each table has."""
    tables = (
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if kind == "sqlite"
        else "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    )
    sizes = {}
    for (name,) in raw.rows(tables):
        ((size,),) = raw.rows(f"SELECT count(*) FROM {name}")  # noqa: S608 - the store's own name
        sizes[str(name)] = msgspec.convert(size, int)
    return sizes


async def test_it_passes_and_leaves_nothing_behind_but_its_verdict(
    bench: PolicyBench, rehearsal: SweepRehearsal, raw: RawConnection, kind: Kind
) -> None:
    await ticket(bench)
    await ask(bench, "d-0")
    await rehearsal.once()  # opens the system's session
    before = counts(raw, kind)
    told: list[object] = []
    bench.store.listen(told.extend)
    await ask(bench)
    bench.clock.advance(3.0)
    await rehearsal.once()
    passed = await verdict(bench)
    assert (passed.passed, passed.measured_s) == (True, 3.0), passed
    assert f"cleared {TICKETS} overdue scratch tickets" in passed.what
    after = counts(raw, kind)
    grown = {name: after[name] - size for name, size in before.items() if after[name] != size}
    assert grown == {"drills": 1, "commands": 1, "events": 1}
    # What listens to the store (metrics, log lines, alerts) has heard of nothing but the verdict.
    kinds = [fact.event.kind for fact in told if isinstance(fact, Recorded)]
    assert (len(told), kinds) == (1, ["drill_passed"])
    assert (await bench.store.read(read_backlog)).pending == 1
    assert (await bench.store.read(audit)).findings == ()


async def test_a_sweep_that_ends_nothing_fails_it(
    bench: PolicyBench, rehearsal: SweepRehearsal, raw: RawConnection, kind: Kind
) -> None:
    for statement in SABOTAGE[kind]:
        raw.run(statement)
    await ask(bench)
    await rehearsal.once()
    failed = await verdict(bench)
    assert not failed.passed
    assert f"left {TICKETS} of {TICKETS} overdue scratch tickets undecided" in failed.what
    (event,) = await bench.events("drill_failed")
    assert event["why"] == failed.what


async def test_a_real_ticket_that_the_sweep_leaves_fails_it(
    bench: PolicyBench, rehearsal: SweepRehearsal
) -> None:
    await ticket(bench)
    bench.clock.advance(3600 + 61)
    await ask(bench)
    await rehearsal.once()
    failed = await verdict(bench)
    assert not failed.passed
    assert "is overdue since 2026-06-01T" in failed.what
    await bench.sweep()
    await ask(bench, "d-2")
    await rehearsal.once()
    assert (await verdict(bench, "d-2")).passed


async def test_one_daemon_carries_it_out_and_an_interrupted_one_is_not_begun_again(
    bench: PolicyBench, rehearsal: SweepRehearsal
) -> None:
    await ask(bench)
    assert await bench.store.write(drills.take_up, "d-1", "boot-2")
    await rehearsal.once()
    record = await bench.store.read(drills.find, "d-1")
    assert record is not None
    assert record.verdict is None


async def test_without_a_sweep_it_fails_in_time_and_a_late_one_changes_no_verdict(
    bench: PolicyBench, rehearsal: SweepRehearsal
) -> None:
    drill = ApprovalsDrill(
        database=bench.store,
        clock=SystemClock(),
        timezone=UTC_ZONE,
        actor="ann",
        id="d-1",
        limit_s=0.2,
    )
    failed = await drill.run()
    assert not failed.passed
    assert "has not come round within 0.2 s" in failed.what
    await rehearsal.once()
    assert await verdict(bench) == failed
    assert await bench.events("drill_passed") == []
    assert await drill.run() == failed


async def test_the_same_drill_again_gives_its_verdict_and_holds_no_second_one(
    bench: PolicyBench, rehearsal: SweepRehearsal
) -> None:
    await ask(bench)
    await rehearsal.once()
    origin = Origin(at=bench.clock.now(), actor="ann", command_id="d-1")
    again = await bench.store.write(drills.begin, Drill.APPROVALS, origin, UTC_ZONE)
    assert again == await verdict(bench)
