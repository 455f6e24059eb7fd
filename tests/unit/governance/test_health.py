"""A status has one verdict: the gravest of its problems, a kill before all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from supervisor.clock import VirtualClock, to_us
from supervisor.governance.health import Health, health, problems, status_json
from supervisor.governance.session import DAEMON_STOPPED
from supervisor.governance.status import Status, Surroundings, read_status, status_without_store
from supervisor.lock import Holder
from supervisor.storage.database import Transaction, Value
from tests.unit.governance.recorded_life import RecordedLife

NOW = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)
HOLDER = Holder(pid=7, boot_id="boot-1", started_at="2026-06-01T10:30:00Z", listen="127.0.0.1:1")


def around(holder: Holder | None = HOLDER, stop: str | None = None) -> Surroundings:
    return Surroundings(holder=holder, stop_requested=stop, heartbeat_s=5.0)


async def status_of(
    life: RecordedLife, surroundings: Surroundings, *, age_s: float = 0.0
) -> Status:
    return await life.store.read(
        read_status,
        now=NOW + timedelta(seconds=age_s),
        worker_names=["digest"],
        budgets=life.budgets,
        around=surroundings,
    )


async def change(recorded: RecordedLife, statement: str, /, **values: Value) -> None:
    def run(tx: Transaction) -> int:
        return tx.run(statement, **values)

    assert await recorded.store.write(run) == 1


@pytest.fixture
async def started(life: RecordedLife, clock: VirtualClock) -> RecordedLife:
    await life.start("digest")
    await change(life, "daemons.beat", boot_id="boot-1", now=to_us(NOW), state="running")
    return life


async def test_daemon_that_beats_is_healthy(started: RecordedLife) -> None:
    status = await status_of(started, around())
    assert problems(status) == []
    assert health(status) is Health.HEALTHY
    assert (status.daemon.pid, status.daemon.state) == (7, "running")


async def test_heartbeat_older_than_three_is_degraded(started: RecordedLife) -> None:
    assert health(await status_of(started, around(), age_s=15.0)) is Health.HEALTHY
    status = await status_of(started, around(), age_s=15.1)
    assert health(status) is Health.DEGRADED
    assert "15 s old, 15 s at most are well" in problems(status)[0].what


@pytest.mark.parametrize(
    ("statement", "values", "told"),
    [
        (
            "daemons.beat",
            {"boot_id": "boot-1", "now": to_us(NOW), "state": "degraded"},
            "the daemon is degraded",
        ),
        (
            "workers.set_life",
            {"name": "digest", "life": "failed", "why": "it raised"},
            "worker digest has failed: it raised",
        ),
        (
            "governance.set_breaker",
            {
                "name": "worker:digest",
                "state": "open",
                "cause": "overrun",
                "why": "above its hold",
                "changed_at": 1,
                "retry_at": 2,
                "openings": 1,
                "failures": 0,
                "probe_worker": "",
                "probe_tick": 0,
                "probe_hold": "",
            },
            "breaker worker:digest is open: above its hold",
        ),
    ],
)
async def test_part_that_is_not_well_is_degraded(
    started: RecordedLife, statement: str, values: dict[str, Value], told: str
) -> None:
    await change(started, statement, **values)
    status = await status_of(started, around())
    assert health(status) is Health.DEGRADED
    assert [problem.what for problem in problems(status)] == [told]


async def test_failed_worker_that_is_not_configured_is_no_problem(started: RecordedLife) -> None:
    await started.start("digest", "gone")
    await change(started, "workers.set_life", name="gone", life="failed", why="x")
    holder = msgspec.structs.replace(HOLDER, boot_id="boot-2")
    assert health(await status_of(started, around(holder))) is Health.HEALTHY


async def test_no_daemon_is_not_running_and_says_how_the_last_one_ended(
    started: RecordedLife,
) -> None:
    died = await status_of(started, around(None))
    assert health(died) is Health.NOT_RUNNING
    assert "died without a word after 2026-06-01T10:30:00Z" in problems(died)[0].what
    assert died.workers[0].life == "stopped"
    await change(started, "daemons.stopped", boot_id="boot-1", now=to_us(NOW))
    ended = await status_of(started, around(None))
    assert "the daemon stopped at 2026-06-01T10:30:00Z" in problems(ended)[0].what


async def test_kill_comes_before_a_daemon_that_does_not_run(started: RecordedLife) -> None:
    await started.kill("system")
    assert health(await status_of(started, around(None))) is Health.KILLED
    assert health(await status_of(started, around())) is Health.KILLED


@pytest.mark.parametrize("holder", [None, HOLDER])
async def test_stop_file_counts_as_killed(started: RecordedLife, holder: Holder | None) -> None:
    status = await status_of(started, around(holder, stop=""))
    assert health(status) is Health.KILLED
    assert "`supervisor stop --clear`" in problems(status)[0].fix


@pytest.mark.parametrize("scope", ["worker:digest", "session:system@2026-06-01T00:00Z"])
async def test_kill_of_a_part_leaves_the_rest_healthy(started: RecordedLife, scope: str) -> None:
    await started.kill(scope)
    status = await status_of(started, around())
    assert health(status) is Health.HEALTHY
    assert [kill.scope for kill in status.kills] == [scope]


async def test_daemon_that_has_the_lock_but_no_row_yet_is_starting(started: RecordedLife) -> None:
    holder = msgspec.structs.replace(HOLDER, boot_id="boot-9", pid=9)
    status = await status_of(started, around(holder), age_s=3600)
    assert (status.daemon.state, status.daemon.pid) == ("starting", 9)
    assert health(status) is Health.HEALTHY


async def test_clock_that_was_ahead_once_does_not_hide_the_daemon_that_runs(
    started: RecordedLife,
) -> None:
    ahead = to_us(NOW + timedelta(days=400))
    await change(started, "daemons.started", boot_id="boot-0", pid=1, host="h", now=ahead)
    status = await status_of(started, around())
    assert (status.daemon.boot_id, status.daemon.state) == ("boot-1", "running")
    assert health(status) is Health.HEALTHY


@pytest.mark.parametrize(
    ("worker", "why", "verdict"),
    [
        ("digest", "account x: exhausted", Health.DEGRADED),
        ("digest", DAEMON_STOPPED, Health.HEALTHY),
        ("gone", "account x: exhausted", Health.HEALTHY),
    ],
)
async def test_session_that_waits_for_a_person_is_degraded(
    started: RecordedLife, worker: str, why: str, verdict: Health
) -> None:
    await started.start("digest", "gone")
    await started.tick(worker, 1_500)
    session = f"{worker}@2026-06-01T10:00Z"
    await change(started, "sessions.move", id=session, status="paused", why=why)
    holder = msgspec.structs.replace(HOLDER, boot_id="boot-2")
    status = await status_of(started, around(holder))
    assert health(status) is verdict
    if verdict is Health.DEGRADED:
        (problem,) = problems(status)
        assert problem.what == f"session {session} is paused: {why}"
        assert f"`supervisor sessions resume {session}`" in problem.fix


async def test_json_names_the_verdict_and_its_cures(started: RecordedLife) -> None:
    await started.kill("system")
    told = status_json(await status_of(started, around()))
    assert told["health"] == "killed"
    assert told["problems"] == [
        {
            "what": "kill switch system engaged by test at 2026-06-01T10:30:00Z: a test",
            "fix": "`supervisor release --system --why TEXT` clears it",
        }
    ]
    assert msgspec.json.decode(msgspec.json.encode(told))["daemon"]["is_running"] is True


def test_status_without_a_store_has_the_same_keys() -> None:
    status = status_without_store(now=NOW, worker_names=["digest"], around=around(None))
    assert health(status) is Health.NOT_RUNNING
    assert status.workers[0].life == "not_started"


async def test_counters_that_are_damaged_are_unknown_not_zero(started: RecordedLife) -> None:
    session = "system@2026-06-01T00:00Z"
    await change(
        started, "events.advance", session_id=session, last_seq=9, last_hash=b"", counters="{"
    )
    (found,) = (await status_of(started, around())).sessions
    assert (found.cost_usd, found.tokens, found.ticks) == (None, None, None)


async def test_what_only_the_daemon_itself_can_say_is_degraded(started: RecordedLife) -> None:
    surroundings = msgspec.structs.replace(around(), troubles=("the store does not take writes",))
    status = await status_of(started, surroundings)
    assert health(status) is Health.DEGRADED
    assert [problem.what for problem in problems(status)] == ["the store does not take writes"]
    assert status_json(status)["troubles"] == ("the store does not take writes",)


async def test_a_daemon_that_is_not_running_has_no_troubles_of_its_own(
    started: RecordedLife,
) -> None:
    assert health(await status_of(started, around(None))) is Health.NOT_RUNNING
