"""A session that a person has aborted is over for good; its worker rests until its window ends."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from supervisor import Context, Outcome
from supervisor.clock import VirtualClock
from supervisor.errors import (
    IllegalMove,
    KillSwitchEngaged,
    NotFound,
    SessionNotActive,
    SupervisorError,
    UsageError,
)
from supervisor.governance.audit import audit
from supervisor.governance.kept import backup_facts, read_kept
from supervisor.governance.kill_switch import KillCommand, engage, release
from supervisor.governance.rotation import find_session, open_session_of, pause_session
from supervisor.governance.session import AbortReason, Session, SessionStatus
from supervisor.governance.session_commands import (
    AbortCommand,
    Aborted,
    ResumeCommand,
    abort,
    resume,
)
from supervisor.storage.database import Database
from supervisor.worker.tick import TickEnd
from tests.contract.policy_bench import CALM, UTC_ZONE, PolicyBench
from tests.databases import RawConnection

WHY = "it mailed the wrong people"


@pytest.fixture
def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    bench = PolicyBench(database, clock, tmp_path)
    bench.use(CALM)
    return bench


async def spends(ctx: Context) -> None:
    async with ctx.spend(usd_max=0.001, what="x"):
        return


async def current(bench: PolicyBench) -> Session | None:
    return await bench.store.read(open_session_of, "w")


async def ticked(bench: PolicyBench) -> Session:
    await bench.tick(spends)
    session = await current(bench)
    assert session is not None
    return session


async def aborted(bench: PolicyBench, session_id: str, *, why: str = WHY) -> Aborted:
    command = AbortCommand(session_id=session_id, why=why, reason=AbortReason.POLICY_VIOLATION)
    return await bench.store.write(abort, command, bench.origin())


async def turn(bench: PolicyBench, session_id: str, *, is_engaged: bool) -> None:
    command = KillCommand(scope=f"session:{session_id}", why="x")
    way = engage if is_engaged else release
    await bench.store.write(way, command, bench.origin(), UTC_ZONE)


async def is_clean(bench: PolicyBench) -> bool:
    return (await bench.store.read(audit)).is_clean


def wait_for_the_next_window(bench: PolicyBench) -> None:
    bench.clock.advance(timedelta(hours=1).total_seconds())


async def next_end(bench: PolicyBench) -> TickEnd:
    return await bench.tick_end(spends)


async def test_an_aborted_session_is_sealed_and_told(
    bench: PolicyBench, raw: RawConnection
) -> None:
    session = await ticked(bench)
    done = await aborted(bench, session.id)
    assert (done.status, done.reason) == ("aborted", AbortReason.POLICY_VIOLATION)
    found = await bench.store.read(find_session, session.id)
    assert found is not None
    assert (found.status, found.why) == (SessionStatus.ABORTED, WHY)
    assert found.summary is not None
    told = raw.rows("SELECT kind, actor, payload FROM events WHERE command_id = 'decision-1'")
    payload = f'{{"worker":"w","reason":"policy_violation","why":"{WHY}"}}'
    assert told == [("session_aborted", "ann", payload)]
    assert await is_clean(bench)


async def test_its_worker_gets_no_second_session_and_no_fresh_budget_in_its_window(
    bench: PolicyBench, raw: RawConnection
) -> None:
    session = await ticked(bench)
    await aborted(bench, session.id)
    end = await next_end(bench)
    assert end.outcome is Outcome.SKIPPED
    assert isinstance(end.refusal, SessionNotActive)
    assert (end.refusal.session_id, end.refusal.status) == (session.id, "aborted")
    assert WHY in str(end.refusal)
    assert "gets its next one when this window ends" in str(end.refusal)
    assert raw.rows("SELECT id FROM sessions WHERE worker = 'w'") == [(session.id,)]
    wait_for_the_next_window(bench)
    following = await ticked(bench)
    assert following.window_start == session.window_end
    assert await is_clean(bench)


async def test_a_restore_from_before_the_abort_lets_its_worker_wait_for_a_person(
    bench: PolicyBench,
) -> None:
    session = await ticked(bench)
    backup = await bench.store.read(backup_facts)
    await aborted(bench, session.id)
    kept = await bench.store.read(read_kept, backup)
    assert [(one.worker, one.why) for one in kept.paused] == [("w", f"aborted: {WHY}")]
    wait_for_the_next_window(bench)
    await ticked(bench)
    assert (await bench.store.read(read_kept, backup)).paused == []


async def test_a_paused_session_can_be_aborted_and_then_nothing_resumes_it(
    bench: PolicyBench,
) -> None:
    session = await ticked(bench)
    await bench.store.write(pause_session, session, bench.origin(), why="looked at")
    await aborted(bench, session.id)
    with pytest.raises(IllegalMove, match="is aborted and can't become aborted"):
        await aborted(bench, session.id)
    command = ResumeCommand(session_id=session.id, why="x")
    with pytest.raises(IllegalMove, match="is aborted and can't become active"):
        await bench.store.write(resume, command, bench.origin())
    assert await is_clean(bench)


async def test_the_kill_of_an_aborted_session_holds_its_worker_until_it_is_released(
    bench: PolicyBench,
) -> None:
    session = await ticked(bench)
    await turn(bench, session.id, is_engaged=True)
    await aborted(bench, session.id)
    for _ in range(2):
        end = await next_end(bench)
        assert isinstance(end.refusal, KillSwitchEngaged)
        assert end.refusal.scope == f"session:{session.id}"
        wait_for_the_next_window(bench)
    assert await current(bench) is None
    await turn(bench, session.id, is_engaged=False)
    assert (await next_end(bench)).outcome is Outcome.OK
    assert await is_clean(bench)


async def test_a_session_whose_tick_runs_is_not_aborted_and_the_error_says_how(
    bench: PolicyBench,
) -> None:
    told: list[SupervisorError] = []

    async def tries(ctx: Context) -> None:
        async with ctx.spend(usd_max=0.001, what="x"):
            with pytest.raises(IllegalMove) as error:
                await aborted(bench, ctx.session.id)
        told.append(error.value)

    await bench.tick(tries)
    (error,) = told
    session = await current(bench)
    assert session is not None
    assert session.status is SessionStatus.ACTIVE
    assert "tick 1 of worker w is running in it" in str(error)
    assert f"`supervisor kill --session {session.id} --why TEXT` ends it" in str(error)


async def test_only_a_workers_session_is_aborted_and_for_a_reason(bench: PolicyBench) -> None:
    session = await ticked(bench)
    await turn(bench, session.id, is_engaged=True)
    system = await bench.store.read(open_session_of, "system")
    assert system is not None
    with pytest.raises(UsageError, match="is the daemon's own"):
        await aborted(bench, system.id)
    with pytest.raises(UsageError, match="the reason is empty"):
        await aborted(bench, session.id, why=" ")
    with pytest.raises(NotFound, match="does not exist"):
        await aborted(bench, "none")
