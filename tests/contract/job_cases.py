"""Cases of the operations on jobs, beside all others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec

from supervisor.governance import job_commands
from supervisor.governance.job_commands import JobCommand, ResolveCommand, enqueue_for_person
from supervisor.jobs.job import JobRequest, JobState
from tests.contract import commands
from tests.contract.command_case import Case, Content, sender
from tests.contract.job_states import job_in, job_request
from tests.contract.policy_bench import UTC_ZONE, PolicyBench


async def _job(operation: Callable[..., object], state: JobState, bench: PolicyBench) -> Case:
    command = JobCommand(job=await job_in(bench, state, "k-1"), why="x")
    others = {"job": await job_in(bench, state, "k-2"), "why": "y"}
    return Case(send=sender(bench, operation, UTC_ZONE), content=command, others=others)


async def _resolving(bench: PolicyBench) -> Case:
    case = await _job(job_commands.resolve, JobState.UNKNOWN, bench)
    assert isinstance(case.content, JobCommand)
    command = ResolveCommand(job=case.content.job, is_done=False, why="x")
    return Case(send=case.send, content=command, others={**case.others, "is_done": True})


async def _enqueueing(bench: PolicyBench) -> Case:
    """Whose key is its command id; how a job is wanted is no content of it."""

    async def send(command_id: str, content: Content) -> object:
        assert isinstance(content, JobRequest)
        asked = msgspec.structs.replace(content, key=command_id)
        return (await bench.store.write(enqueue_for_person, asked, bench.origin(), UTC_ZONE)).id

    left_out = frozenset({"queue", "key", "priority", "run_at", "attempts_max"})
    return Case(send=send, content=job_request("k"), others={"payload": "2"}, left_out=left_out)


CASES: Mapping[str, Callable[[PolicyBench], Awaitable[Case]]] = {
    **commands.CASES,
    "job_requeue": partial(_job, job_commands.requeue, JobState.DEAD),
    "job_discard": partial(_job, job_commands.discard, JobState.DEAD),
    "job_cancel": partial(_job, job_commands.cancel, JobState.QUEUED),
    "job_resolve": _resolving,
    "enqueue": _enqueueing,
}
