"""Looking after the process itself: what is logged, recorded and asked for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from supervisor.clock import VirtualClock
from supervisor.config import SupervisorSection
from supervisor.events import kinds
from supervisor.events.log import Recorded
from supervisor.events.telemetry import Telemetry
from supervisor.governance.rotation import system_journal
from supervisor.maintenance.memory import LOOKS_IN_A_ROW, MemoryWatch
from supervisor.maintenance.process_watch import ProcessWatch, Reach
from tests.unit.inline_database import InlineDatabase
from tests.unit.recorded_log import RecordedLog
from tests.unit.time_warp import run_warped
from tests.unit.worker.conftest import UTC_ZONE

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "supervisor.service"
MIB = 1_048_576
MB = 1_000_000


@dataclass
class Watched:
    """A watch in virtual time, and everything that it told anybody."""

    watch: ProcessWatch
    telemetry: Telemetry
    clock: VirtualClock
    facts: list[kinds.Event] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)


@pytest.fixture
def watched(
    inline_store: InlineDatabase, clock: VirtualClock, recorded: RecordedLog, tmp_path: Path
) -> Iterator[Watched]:
    telemetry = Telemetry(
        database=inline_store,
        clock=clock,
        log=recorded.log,
        open_journal=lambda tx, origin: system_journal(tx, UTC_ZONE, origin),
        held_max=10,
    )
    restarts: list[str] = []
    reach = Reach(
        running=lambda: ["digest"], request_restart=restarts.append, exit_at_once=lambda: None
    )
    watch = ProcessWatch(
        SupervisorSection(),
        clock=clock,
        log=recorded.log,
        telemetry=telemetry,
        stop_file=tmp_path / "STOP",
        reach=reach,
    )
    made = Watched(watch=watch, telemetry=telemetry, clock=clock, restarts=restarts)

    def follow(published: object) -> None:
        assert isinstance(published, list)
        made.facts.extend(fact.event for fact in published if isinstance(fact, Recorded))

    inline_store.listen(follow)
    yield made
    watch.stop()


def test_a_block_is_measured_logged_and_recorded_with_what_was_seen_of_it(
    watched: Watched, recorded: RecordedLog
) -> None:
    async def main() -> None:
        lag = watched.watch.loop_lag
        lag.watch(asyncio.get_running_loop())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watched.telemetry.run)
            await anyio.sleep(1)
            watched.clock.advance(3.0)
            watched.watch._guard.look()  # as its thread does meanwhile
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()

    run_warped(watched.clock, main())
    (line,) = recorded.lines("loop_was_blocked")
    assert (line["lag_s"], line["worker"]) == (3.0, "digest")
    (event,) = [fact for fact in watched.facts if isinstance(fact, kinds.LoopBlocked)]
    assert (event.lag_s, event.worker) == (3.0, "digest")
    assert event.where == line["where"]


def test_too_much_memory_is_logged_recorded_and_a_restart_is_asked_for(
    watched: Watched, recorded: RecordedLog
) -> None:
    watch: MemoryWatch = watched.watch.memory
    watch._resident_bytes = lambda: 800 * MB
    for _ in range(LOOKS_IN_A_ROW):
        watch.look()
    assert [line["resident_mb"] for line in recorded.lines("memory_above_limit")] == [800]
    assert watched.restarts == ["it held 800 MB, rss_max_mb = 768"]
    asyncio.run(watched.telemetry.flush())
    assert kinds.MemoryExceeded(resident_mb=800, limit_mb=768) in watched.facts


def setting(key: str) -> int:
    """Return a number of the shipped unit."""
    found = re.search(rf"^{key}=(\d+)", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return int(found[1])


def test_a_blocked_loop_ends_by_itself_before_systemd_ends_it_without_its_stacks() -> None:
    section = SupervisorSection()
    # The watchdog counts from the last beat, which may be a whole beat before the block.
    latest_s = setting("WatchdogSec") - section.heartbeat_s
    assert section.loop_block_warn_s < section.loop_block_abort_s < latest_s


def test_a_process_that_grew_drains_before_systemd_takes_its_memory() -> None:
    assert setting("MemoryMax") == 1  # in GiB
    assert SupervisorSection().rss_max_mb * MB < 0.75 * 1_024 * MIB
