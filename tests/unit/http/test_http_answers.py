"""What the daemon does when it is asked: from the route's question to the store and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import anyio
import pytest
from anyio.abc import TaskGroup

from supervisor.clock import VirtualClock
from supervisor.config import Loaded, load
from supervisor.errors import CommandConflict, NotFound, StoreUnavailable, UsageError
from supervisor.events import kinds
from supervisor.events.telemetry import Telemetry
from supervisor.governance.kill_switch import KillCommand, engaged
from supervisor.governance.rotation import system_journal
from supervisor.http.answers import Answers
from supervisor.ids import SequentialIds
from supervisor.maintenance.heartbeat import HEARTBEAT_NAME, Heartbeat
from supervisor.maintenance.kill_watch import KillWatch
from supervisor.maintenance.loop_lag import LoopLag
from supervisor.maintenance.ping import Ping
from supervisor.maintenance.service_manager import ServiceManager
from supervisor.maintenance.stop_file import STOP_NAME, read_stop
from supervisor.maintenance.vitals import Vitals
from supervisor.metrics import Metrics
from supervisor.storage.database import Transaction
from tests.unit.inline_database import InlineDatabase
from tests.unit.recorded_log import RecordedLog
from tests.unit.worker.conftest import UTC_ZONE, Bench

CONFIG = '[spend]\ndaily_cap_usd = 1.0\n[worker.w]\nrun = "agent:run"\nevery_s = 60.0\n'
KILL = KillCommand(scope="worker:w", why="drill")


@dataclass
class Asking:
    """Answers, and what they reach."""

    answers: Answers
    bench: Bench
    store: InlineDatabase
    vitals: Vitals
    watch: KillWatch
    changes: list[str] = field(default_factory=list)
    is_ready: bool = True
    loaded: Loaded | None = None

    async def kill(self, command: KillCommand = KILL, *, command_id: str = "c-1") -> bool:
        latched = await self.answers.kill(command, actor="ann", command_id=command_id)
        return latched.changed

    async def latches(self) -> list[str]:
        return [latch.scope for latch in await self.store.read(engaged)]

    async def metrics(self) -> dict[str, float]:
        text = (await self.answers.scrape()).decode()
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if not line.startswith("#")
        }

    @asynccontextmanager
    async def tick(self) -> AsyncIterator[anyio.CancelScope]:
        """A tick of worker w that is in flight."""
        with anyio.CancelScope() as scope:
            with self.bench.kernel.in_flight.register("w", "w@now", scope):
                yield scope


def start_daemon(tx: Transaction) -> None:
    tx.run("daemons.started", boot_id="boot-1", pid=7, host="h", now=0)


@pytest.fixture
async def asking(
    inline_store: InlineDatabase, clock: VirtualClock, recorded: RecordedLog, tmp_path: Path
) -> Asking:
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "var").mkdir()
    await inline_store.write(start_daemon)
    bench = Bench(inline_store, clock, tmp_path / "var")
    bench.kernel.log = recorded.log
    vitals, manager = Vitals({"w": 5.0}, clock), ServiceManager(None)
    changes: list[str] = []
    heartbeat = Heartbeat(
        database=inline_store,
        clock=clock,
        log=recorded.log,
        vitals=vitals,
        manager=manager,
        ping=Ping("", tasks=cast("TaskGroup", None), clock=clock, log=recorded.log),
        path=tmp_path / "var" / HEARTBEAT_NAME,
        boot_id="boot-1",
        pid=7,
        every_s=5.0,
        state=lambda: "running",
    )
    watch = KillWatch(
        database=inline_store,
        in_flight=bench.kernel.in_flight,
        stop_file=tmp_path / "var" / STOP_NAME,
        log=recorded.log,
        on_stop=bench.stops.append,
        on_change=lambda: changes.append("changed"),
    )
    telemetry = Telemetry(
        database=inline_store,
        clock=clock,
        log=recorded.log,
        open_journal=lambda tx, origin: system_journal(tx, UTC_ZONE, origin),
        held_max=1,
    )
    asking: Asking
    answers = Answers(
        database=inline_store,
        clock=clock,
        ids=SequentialIds(),
        kernel=bench.kernel,
        metrics=Metrics(version="1"),
        vitals=vitals,
        heartbeat=heartbeat,
        kill_watch=watch,
        loop_lag=LoopLag(clock=clock, warn_s=1.0, on_block=lambda began_s, lag_s: None),
        telemetry=telemetry,
        is_ready=lambda: asking.is_ready,
        loaded=lambda: asking.loaded or load(tmp_path / "config.toml", {}),
    )
    asking = Asking(
        answers=answers,
        bench=bench,
        store=inline_store,
        vitals=vitals,
        watch=watch,
        changes=changes,
    )
    return asking


async def test_it_is_ready_only_after_recovery(asking: Asking) -> None:
    asking.is_ready = False
    assert await asking.answers.why_not_ready() == "starting: recovery has not ended"
    asking.is_ready = True
    assert await asking.answers.why_not_ready() == ""


async def test_it_is_ready_only_while_the_store_takes_writes(asking: Asking) -> None:
    asking.store.failures = 1
    assert "the store does not take writes: store: is out of order" in (
        await asking.answers.why_not_ready()
    )
    assert await asking.answers.why_not_ready() == ""


async def test_a_kill_is_latched_and_obeyed_before_it_is_answered(asking: Asking) -> None:
    async with asking.tick() as tick:
        with anyio.CancelScope(shield=True):
            assert await asking.kill()
        assert tick.cancel_called
    assert await asking.latches() == ["worker:w"]


async def test_a_kill_whose_reading_failed_is_obeyed_at_the_watchs_next_look(
    asking: Asking,
) -> None:
    async with asking.tick() as tick, anyio.create_task_group() as tasks:
        with anyio.CancelScope(shield=True):
            tasks.start_soon(asking.watch.run)
            await anyio.sleep(0.02)
            asking.store.fail_reads = 1
            with pytest.raises(StoreUnavailable):
                await asking.kill()
            await anyio.sleep(0.3)
        assert tick.cancel_called
        tasks.cancel_scope.cancel()
    assert await asking.latches() == ["worker:w"]


async def test_the_same_kill_twice_is_one(asking: Asking) -> None:
    assert await asking.kill()
    assert await asking.kill()
    assert not await asking.kill(command_id="c-2")
    with pytest.raises(CommandConflict, match="why"):
        await asking.kill(KillCommand(scope="worker:w", why="other"))


async def test_kills_without_an_id_are_each_their_own(asking: Asking) -> None:
    assert await asking.kill(command_id="")
    assert not await asking.kill(command_id="")


@pytest.mark.parametrize(
    ("scope", "why", "kind"),
    [
        ("everything", "x", UsageError),
        ("worker:", "x", UsageError),
        ("worker:w", "", UsageError),
        ("worker:w", "  ", UsageError),
        ("worker:w", "x" * 501, UsageError),
        ("session:none", "x", NotFound),
    ],
)
async def test_a_kill_of_nothing_or_for_nothing_is_refused(
    asking: Asking, scope: str, why: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        await asking.kill(KillCommand(scope=scope, why=why))
    assert await asking.latches() == []


async def test_a_kill_of_a_worker_that_nobody_knows_is_refused(asking: Asking) -> None:
    with pytest.raises(NotFound, match=r"worker ww: .* there is: w "):
        await asking.kill(KillCommand(scope="worker:ww", why="x"))
    assert await asking.latches() == []


def remember_worker(tx: Transaction) -> None:
    tx.run("workers.register", name="gone", life="running")


async def test_a_worker_that_left_the_config_can_still_be_killed(asking: Asking) -> None:
    await asking.store.write(remember_worker)
    assert await asking.kill(KillCommand(scope="worker:gone", why="x"))
    assert await asking.latches() == ["worker:gone"]


async def test_a_release_wakes_the_workers_that_were_refused(asking: Asking) -> None:
    await asking.kill()
    released = await asking.answers.release(KILL, actor="ann", command_id="c-9")
    assert released.changed
    assert await asking.latches() == []
    assert asking.changes == ["changed"]


async def test_a_stop_leaves_the_file_that_stops_the_daemon(asking: Asking, tmp_path: Path) -> None:
    asking.answers.stop(actor="ann", why="moving house")
    assert "ann: moving house" in (read_stop(tmp_path / "var") or "")


async def test_a_stop_after_a_reload_still_reaches_the_directory_that_is_watched(
    asking: Asking, tmp_path: Path
) -> None:
    # A reload names a changed state_dir as "needs a restart": the daemon lives in the old one.
    (tmp_path / "elsewhere").mkdir()
    text = f'[supervisor]\nstate_dir = "elsewhere"\n{CONFIG}'
    (tmp_path / "config.toml").write_text(text)
    asking.loaded = load(tmp_path / "config.toml", {})
    asking.answers.stop(actor="ann", why="moving house")
    assert read_stop(tmp_path / "var") is not None


async def test_a_scrape_shows_the_store_and_the_daemon(asking: Asking) -> None:
    await asking.kill()
    found = await asking.metrics()
    assert found["supervisor_spend_cap_usd"] == 1.0
    assert found['supervisor_kill_engaged{scope="worker"}'] == 1.0
    assert found['supervisor_worker_state{state="running",worker="w"}'] == 1.0
    assert found["supervisor_wal_bytes"] == 0.0
    assert found["supervisor_loop_lag_seconds"] == 0.0
    assert found["supervisor_telemetry_dropped_total"] == 0.0


async def test_a_scrape_without_a_store_keeps_what_was_known(
    asking: Asking, recorded: RecordedLog
) -> None:
    await asking.metrics()
    asking.store.failures = 1
    found = await asking.metrics()
    assert found["supervisor_spend_cap_usd"] == 1.0
    assert recorded.events == ["scrape_without_store"]


async def test_writes_that_the_store_did_not_take_are_counted(asking: Asking) -> None:
    asking.store.failures = 1
    await asking.answers.why_not_ready()
    found = await asking.metrics()
    assert found["supervisor_state_write_failures_total"] == 1.0


async def test_the_heartbeat_metric_is_the_last_beat_and_not_the_scrape(
    asking: Asking, clock: VirtualClock
) -> None:
    clock.advance(60)
    await asking.answers.heartbeat.beat()
    beat_at = clock.now().timestamp()
    clock.advance(600)
    found = await asking.metrics()
    assert found["supervisor_heartbeat_timestamp_seconds"] == beat_at


async def test_a_worker_that_a_reload_took_away_is_shown_no_more(asking: Asking) -> None:
    await asking.metrics()
    asking.vitals.expect({})
    found = await asking.metrics()
    assert not [name for name in found if name.startswith("supervisor_worker_state")]


async def test_the_status_has_the_configs_workers(asking: Asking) -> None:
    status = await asking.answers.status()
    assert "'w'" in str(status)


async def test_a_scrape_counts_what_telemetry_was_dropped_once(asking: Asking) -> None:
    for _ in range(3):
        asking.answers.telemetry.add(kinds.LoopBlocked(lag_s=1.0))
    for _ in range(2):
        assert (await asking.metrics())["supervisor_telemetry_dropped_total"] == 2.0


async def test_a_status_has_what_only_the_running_daemon_knows(
    asking: Asking, clock: VirtualClock
) -> None:
    asking.vitals.workers["w"].running_since_s = clock.monotonic()
    clock.advance(16)
    asking.store.failures = 1
    await asking.answers.heartbeat.reach_store()
    status = await asking.answers.status()
    assert isinstance(status, dict)
    assert status["health"] == "degraded"
    told = [problem["what"] for problem in status["problems"]]
    assert any(what.startswith("the store does not take writes") for what in told)
    assert "worker w is stuck in tick 0" in told
