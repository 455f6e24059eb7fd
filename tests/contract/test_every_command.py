"""Every operation with a command id is done once, and its id belongs to its content (S4)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from supervisor.clock import VirtualClock
from supervisor.errors import CommandConflict
from supervisor.storage.database import Database
from tests.contract.commands import kill
from tests.contract.job_cases import CASES
from tests.contract.policy_bench import CALM, PolicyBench
from tests.contract.writes import WRITES, Reach, found_operations, found_writes
from tests.databases import RawConnection


@pytest.fixture
def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    bench = PolicyBench(database, clock, tmp_path)
    bench.use(CALM)
    return bench


# --- none is forgotten


def test_everything_that_writes_is_known() -> None:
    new = found_writes() - WRITES.keys()
    assert not new, (
        f"new: {sorted(new)}; say in tests/contract/writes.py who makes it happen, and which"
        " commands of tests/contract/commands.py it carries out, or why it has none"
    )
    gone = WRITES.keys() - found_writes()
    assert not gone, f"nothing writes these any more: {sorted(gone)}"


def test_every_operation_has_a_case_and_every_write_a_command_or_a_reason() -> None:
    carried_out = {command for write in WRITES.values() for command in write.commands}
    assert carried_out == CASES.keys()
    assert found_operations() <= CASES.keys()
    for name, write in WRITES.items():
        assert bool(write.commands) != bool(write.why), name
        # A person's or an agent's word may come twice: only what is only told needs no id.
        assert write.reach is not Reach.PERSON or write.commands or "record_failure" in name


# --- each is done once


@pytest.mark.parametrize("operation", CASES)
async def test_the_same_command_again_gives_the_first_result_and_does_nothing(
    bench: PolicyBench, raw: RawConnection, operation: str
) -> None:
    case = await CASES[operation](bench)
    first = await case.send("c-1", case.content)
    before = stored(raw)
    assert await case.send("c-1", case.content) == first
    assert stored(raw) == before


@pytest.mark.parametrize("operation", CASES)
async def test_the_same_id_with_other_content_names_the_field_and_does_nothing(
    bench: PolicyBench, raw: RawConnection, operation: str
) -> None:
    case = await CASES[operation](bench)
    fields = {field.name for field in msgspec.structs.fields(case.content)} - case.left_out
    assert fields == case.others.keys(), "every field is to have another value"
    await case.send("c-1", case.content)
    before = stored(raw)
    for field, other in case.others.items():
        changed = msgspec.structs.replace(case.content, **{field: other})
        with pytest.raises(CommandConflict, match=rf"\b{case.named.get(field, field)}\b"):
            await case.send("c-1", changed)
    assert stored(raw) == before


@pytest.mark.parametrize("operation", sorted(found_operations() - {"kill"}))
async def test_the_same_id_for_another_operation_names_both(
    bench: PolicyBench, operation: str
) -> None:
    case = await CASES[operation](bench)
    await case.send("c-1", case.content)
    other = await kill(bench)
    with pytest.raises(CommandConflict, match=f"operation '{operation}', now with 'kill'"):
        await other.send("c-1", other.content)


def stored(raw: RawConnection) -> object:
    """Return every row that a command may change, and every event."""
    tables = ("events", "holds", "accounts", "kill_latches", "sessions", "workers", "tickets")
    return [raw.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]  # noqa: S608 - a test's own text
