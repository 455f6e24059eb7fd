"""A kill outlives the daemon: a store that is opened again refuses proposals as before."""

from __future__ import annotations

from pathlib import Path

from supervisor import KillSwitchEngaged
from supervisor.clock import VirtualClock, to_us
from supervisor.storage.open import open_database
from tests.conftest import START
from tests.contract.policy_bench import CALM, PolicyBench
from tests.contract.test_actions_under_a_kill import every_answer, kill, prepare


async def test_after_a_restart_a_killed_system_still_refuses_everything(
    clock: VirtualClock, tmp_path: Path
) -> None:
    first = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    bench = PolicyBench(first, clock, tmp_path)
    bench.use(CALM)
    sessions = [await prepare(bench, number) for number in range(4)]
    await kill(bench, "system")
    await first.close()
    second = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    again = PolicyBench(second, clock, tmp_path)
    again.use(CALM)
    again.decisions = 1_000
    for reached in sessions:
        answers = await every_answer(again, reached)
        assert [type(answer) for answer in answers] == [KillSwitchEngaged] * 4
    await second.close()
