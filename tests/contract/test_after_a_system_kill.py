"""After a system kill nothing that an agent can reach begins anything: anywhere, and for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from supervisor import Context, KillSwitchEngaged, Outcome
from supervisor.clock import VirtualClock
from supervisor.errors import SessionNotActive
from supervisor.events.hands_kinds import HttpRequested
from supervisor.events.log import Origin
from supervisor.governance import kill_switch
from supervisor.governance.audit import audit
from supervisor.governance.breaker import Asker
from supervisor.governance.executions import begin_execution
from supervisor.governance.kill_switch import KillCommand
from supervisor.governance.proposals import Proposal, execution_hold_id
from supervisor.governance.proposing import propose
from supervisor.governance.rotation import open_session_of
from supervisor.hands.records import Tick, use_tool
from supervisor.jobs.effects import Taking
from supervisor.jobs.job import JobState
from supervisor.jobs.progress import Loop
from supervisor.lifecycle import Life, begin_life
from supervisor.maintenance.recovery import recover
from supervisor.storage.database import Database
from supervisor.worker.effects import _take
from supervisor.worker.item_records import begin_items
from supervisor.worker.jobs import Wanted, _enqueue
from supervisor.worker.placing import place
from supervisor.worker.queue_records import Ration, begin_queue_tick
from supervisor.worker.records import Skipped, TickRequest, begin_tick
from supervisor.worker.tick import tick_request
from tests.contract.commands import hold_request, proposal_request
from tests.contract.job_states import job_in, job_request
from tests.contract.policy_bench import CALM, SURE, UTC_ZONE, PolicyBench
from tests.contract.site import Site
from tests.contract.test_actions_under_a_kill import Reached, prepare
from tests.contract.writes import WRITES, Reach
from tests.databases import RawConnection

SESSIONS = 200

Attempt: TypeAlias = Callable[[PolicyBench, Reached], Awaitable[object]]


async def tick(bench: PolicyBench, reached: Reached) -> object:
    plan = await bench.plan(_nothing, name=reached.worker)
    request = TickRequest(
        boot_id=bench.kernel.boot_id,
        session=plan.session,
        budgets=bench.kernel.policy.budgets,
        model="",
        is_free=True,
    )
    begun = await bench.store.write(begin_tick, request, bench.origin())
    return begun.refusal if isinstance(begun, Skipped) else begun


async def _nothing(_: Context) -> None:
    return


async def proposal(bench: PolicyBench, reached: Reached) -> object:
    bench.decisions += 1
    made, late = Proposal(action="note", **SURE), f"{reached.worker}:late-{bench.decisions}"
    asked = proposal_request(bench, reached.worker, reached.session_id, made, late)
    policy = bench.kernel.policy.actions
    return await bench.store.write(propose, asked, policy, UTC_ZONE, bench.origin())


async def execution(bench: PolicyBench, reached: Reached) -> object:
    hold_id = execution_hold_id(reached.approved)
    request = hold_request(bench, reached.worker, reached.session_id, hold_id)
    policy = bench.kernel.policy
    rules, origin = policy.actions.session_risk, bench.origin()
    return await bench.store.write(
        begin_execution, request, reached.approved, policy.budgets, rules, origin
    )


async def call(bench: PolicyBench, reached: Reached) -> object:
    origin = bench.origin()
    request = hold_request(bench, reached.worker, reached.session_id, origin.command_id)
    return await bench.store.write(place, request, None, bench.kernel.policy.budgets, origin)


async def tool(bench: PolicyBench, reached: Reached) -> object:
    used = Tick(worker=reached.worker, number=1, session_id=reached.session_id)
    event = HttpRequested(worker=reached.worker, request="r", method="GET", url="http://x")
    return await bench.store.write(use_tool, used, event, bench.origin())


async def queued(bench: PolicyBench, reached: Reached) -> object:
    bench.decisions += 1
    request = job_request(f"late-{bench.decisions}")
    asker = Asker(worker=reached.worker, tick=1)
    wanted = Wanted(
        asker=asker, session_id=reached.session_id, request=request, origin=bench.origin()
    )
    return await bench.store.write(_enqueue, wanted)


async def effect(bench: PolicyBench, reached: Reached) -> object:
    bench.decisions += 1
    taking = Taking(
        scope="worker:w",
        key=f"late-{bench.decisions}",
        boot_id="boot-1",
        worker=reached.worker,
        tick=1,
        job="",
    )
    return await bench.store.write(_take, taking, reached.session_id, bench.origin())


async def items(bench: PolicyBench, reached: Reached) -> object:
    loop = Loop(worker=reached.worker, tick=1, name="late")
    return await bench.store.write(begin_items, reached.session_id, bench.origin(), loop, None)


async def job(bench: PolicyBench, reached: Reached) -> object:
    bench.decisions += 1
    await job_in(bench, JobState.QUEUED, f"job-{bench.decisions}", reached.worker)
    plan = await bench.plan(_nothing, name=reached.worker)
    ration = Ration(queue=reached.worker, jobs_max=1, lease_us=1)
    request = tick_request(bench.kernel, plan)
    begun = await bench.store.write(begin_queue_tick, request, ration, bench.origin())
    return begun.refusal if isinstance(begun, Skipped) else begun


#: How each write that an agent can reach is tried, by its name in tests/contract/writes.py.
ATTEMPTS: Mapping[str, Attempt] = {
    "worker/tick.py:begin_tick": tick,
    "worker/actions.py:propose": proposal,
    "worker/calls.py:begin_execution": execution,
    "worker/calls.py:placing.place": call,
    "hands/records.py:use_tool": tool,
    "worker/jobs.py:_enqueue": queued,
    "worker/drain.py:begin_queue_tick": job,
    "worker/effects.py:_take": effect,
    "worker/items.py:begin_items": items,
}

#: Whatever a worker is given, and which of these writes it leads to: none, where it changes
#: nothing that is kept before the tick's end, which a killed tick has without its state.
GIVEN: Mapping[str, str] = {
    "model": "worker/calls.py:placing.place",
    "spend": "worker/calls.py:placing.place",
    "calls": "worker/calls.py:placing.place",
    "propose": "worker/actions.py:propose",
    "approved": "worker/calls.py:begin_execution",
    "http": "hands/records.py:use_tool",
    "outputs": "hands/records.py:use_tool",
    "publish": "hands/records.py:use_tool",
    "jobs": "worker/jobs.py:_enqueue",
    "once": "worker/effects.py:_take",
    "each": "worker/items.py:begin_items",
    "memory": "hands/records.py:use_tool",
    # It looks, and it records what has happened.
    "budgets": "",
    "state": "",
    "job": "",
    "handoff": "",
    "failed": "",
    "unknown": "",
    "why": "",
    "handoff_note": "",
    "progress": "",
    "log": "",
    "close": "",
    "handed_over": "",
    "secrets": "",
    "name": "",
    "tick": "",
    "session": "",
    "options": "",
    "config_dir": "",
    "clock": "",
    "saved": "",
    "saved_by_now": "",
    "stopping": "",
    # Plain files of its own.
    "files": "",
    "report": "",
    "report_path": "",
}


@pytest.fixture
def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> PolicyBench:
    bench = PolicyBench(database, clock, tmp_path)
    bench.use(CALM)
    return bench


async def turn(bench: PolicyBench, *, is_engaged: bool, actor: str) -> None:
    turned = kill_switch.engage if is_engaged else kill_switch.release
    origin = Origin(at=bench.clock.now(), actor=actor, command_id=f"{actor}-{is_engaged}")
    await bench.store.write(turned, KillCommand(scope="system", why="x"), origin, UTC_ZONE)


async def answers(bench: PolicyBench, sessions: list[Reached]) -> list[object]:
    """Try everything in every session, and return all that was answered."""
    found: list[object] = []

    async def attempt(way: Attempt, reached: Reached) -> None:
        found.append(await way(bench, reached))

    async with anyio.create_task_group() as tasks:
        for reached in sessions:
            for way in (*ATTEMPTS.values(), _approves):
                tasks.start_soon(attempt, way, reached)
    assert len(found) == len(sessions) * (len(ATTEMPTS) + 1)
    return found


async def _approves(bench: PolicyBench, reached: Reached) -> object:
    return await bench.approve(reached.ticket)


@asynccontextmanager
async def restarted(bench: PolicyBench, site: Site) -> AsyncIterator[PolicyBench]:
    """Begin another life on the same store, as after a kill -9 of the first."""
    database = await site.open()
    try:
        after = PolicyBench(database, bench.clock, site.folder)
        after.use(CALM)
        after.decisions = bench.decisions
        after.kernel.boot_id = "boot-2"
        life = Life(boot_id="boot-2", pid=1, host="here", version="0")
        budgets, origin = after.kernel.policy.budgets, after.origin()
        latches = await database.write(begin_life, life, ["w0"], budgets, origin)
        assert [latch.scope for latch in latches] == ["system"]
        workers = {f"w{number}" for number in range(SESSIONS)}
        await recover(
            database, boot_id="boot-2", clock=bench.clock, timezone=UTC_ZONE, workers=workers
        )
        yield after
    finally:
        await database.close()


def begun(raw: RawConnection) -> list[object]:
    """Return how much was ever begun."""
    tables = ("holds", "proposals", "sessions WHERE worker <> 'system'", "session_grants")
    sums = [raw.rows(f"SELECT count(*) FROM {table}") for table in tables]  # noqa: S608 - a test's own text
    uses = "SELECT count(*) FROM events WHERE kind IN ('execution_started', 'http_requested')"
    return [*sums, raw.rows(uses)]


def test_every_write_that_an_agent_can_reach_is_tried() -> None:
    reachable = {name for name, write in WRITES.items() if write.reach is Reach.AGENT}
    assert reachable == ATTEMPTS.keys()


async def test_everything_that_a_worker_is_given_is_known(bench: PolicyBench) -> None:
    async def names(ctx: Context) -> set[str]:
        return {name for name in (*vars(type(ctx)), *vars(ctx)) if not name.startswith("_")}

    assert await bench.tick(names) == GIVEN.keys()
    assert {write for write in GIVEN.values() if write} <= ATTEMPTS.keys()


async def test_in_200_sessions_and_after_a_restart_and_a_rotation_all_of_it_is_refused(
    bench: PolicyBench, site: Site, raw: RawConnection
) -> None:
    sessions = [await prepare(bench, number) for number in range(SESSIONS)]
    before = begun(raw)
    await turn(bench, is_engaged=True, actor="ann")
    assert {type(answer) for answer in await answers(bench, sessions)} == {KillSwitchEngaged}
    async with restarted(bench, site) as after:
        assert {type(answer) for answer in await answers(after, sessions)} == {KillSwitchEngaged}
        bench.clock.advance(1800)  # their windows are over, their tickets are not
        assert {type(answer) for answer in await answers(after, sessions[:10])} == {
            KillSwitchEngaged
        }
        fresh = Reached("fresh", sessions[0].session_id, sessions[0].approved, "")
        assert isinstance(await tick(after, fresh), KillSwitchEngaged)
        assert await after.store.read(open_session_of, "fresh") is None
    assert begun(raw) == before
    assert (await bench.store.read(audit)).findings == ()


async def test_only_a_release_by_name_ends_it_and_it_is_on_record(
    bench: PolicyBench, site: Site, raw: RawConnection
) -> None:
    sessions = [await prepare(bench, number) for number in range(2)]
    await turn(bench, is_engaged=True, actor="ann")
    async with restarted(bench, site) as after:
        end = await after.tick_end(_nothing, name="w0")
        assert end.outcome is Outcome.SKIPPED
        await turn(after, is_engaged=False, actor="bob")
        assert (await after.tick_end(_nothing, name="w0")).outcome is Outcome.OK
        # One that was paused before waits for its person as it did.
        assert isinstance(await tick(after, sessions[1]), SessionNotActive)
    told = raw.rows(
        "SELECT actor, kind FROM events WHERE kind LIKE 'kill_switch%' ORDER BY position"
    )
    assert told == [("ann", "kill_switch_engaged"), ("bob", "kill_switch_released")]
    assert raw.rows("SELECT operation FROM commands WHERE id = 'bob-False'") == [("release",)]
