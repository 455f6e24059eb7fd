"""Who spends too fast is stopped within the window, its siblings go on, and it is let in again."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from supervisor import Context, Outcome
from supervisor.events.log import Origin, Recorded
from supervisor.governance.audit import audit
from supervisor.governance.breaker import BreakerRules
from supervisor.governance.burning import PARTS, stop_burns
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.periods import Period
from supervisor.maintenance.burn_watch import BurnWatch
from tests.unit.worker.breaker_bench import breakers, tick
from tests.unit.worker.conftest import UTC_ZONE, Bench

RULES = BreakerRules(rate_multiple=6.0, rate_window_s=300.0, open_ratio=0.95, failures_max=5)
CAP = 864_000  # micro-USD a day: 10 a second can be sustained
TEN_SECONDS = 100
STEP_S = 10


@pytest.fixture
def spending(bench: Bench) -> Bench:
    def budget(scope: str, limit: int) -> Budget:
        return Budget(scope=scope, period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=limit)

    limits = [budget("worker:w", CAP), budget("worker:sibling", CAP), budget("system", 10 * CAP)]
    policy = bench.kernel.policy
    budgets = Budgets(limits, timezone=UTC_ZONE, warn_ratio=0.8)
    bench.kernel.policy = type(policy)(
        budgets=budgets, on_cap="wait", min_output_tokens=64, breakers=RULES
    )
    return bench


async def spend(bench: Bench, times: float, *, name: str = "w") -> Outcome:
    """Let a tick spend as many times what is sustained in 10 s."""

    async def run(ctx: Context) -> None:
        async with ctx.spend(usd_max=times * TEN_SECONDS / 1e6, what="x"):
            pass

    return (await tick(bench, run, name=name)).outcome


async def watch(bench: Bench) -> list[str]:
    """Look, as the daemon does five times in each window."""
    policy, origin = bench.kernel.policy, Origin(at=bench.clock.now(), actor="daemon")
    return await bench.store.write(stop_burns, policy.budgets, policy.breakers, origin)


async def burn(bench: Bench, times: float, seconds: int) -> float | None:
    """Spend at that rate, the sibling at 1 x, and return when a breaker opened, in seconds."""
    for second in range(0, seconds, STEP_S):
        await spend(bench, times)
        assert await spend(bench, 1.0, name="sibling") is Outcome.OK
        bench.clock.advance(STEP_S)
        if (second + STEP_S) % (RULES.rate_window_s / PARTS) == 0 and await watch(bench):
            return second + STEP_S
    return None


async def test_a_worker_that_burns_10_times_its_rate_is_open_within_the_window(
    spending: Bench,
) -> None:
    opened_s = await burn(spending, 10.0, 600)
    assert opened_s == 240, "the first look after 6 x 300 s were spent, at 10 x: after 180 s"
    assert set(await breakers(spending)) == {"worker:w"}
    assert await spend(spending, 10.0) is Outcome.SKIPPED
    (event,) = await spending.events("breaker_opened")
    assert event["cause"] == "rate"
    assert await spend(spending, 1.0, name="sibling") is Outcome.OK


async def test_a_probe_closes_it_after_the_burn_has_ended(spending: Bench) -> None:
    await burn(spending, 10.0, 600)
    spending.clock.advance(RULES.cooldown_s)
    assert await spend(spending, 1.0) is Outcome.OK
    closed = await spending.events("breaker_half_opened", "breaker_closed")
    assert [event["kind"] for event in closed] == ["breaker_half_opened", "breaker_closed"]
    assert await burn(spending, 1.0, 900) is None
    assert (await spending.store.read(audit)).findings == ()


@pytest.mark.parametrize("times", [1.0, 5.9])
async def test_a_rate_below_the_multiple_opens_nothing(spending: Bench, times: float) -> None:
    assert await burn(spending, times, 1_200) is None


async def test_a_burst_is_no_rate(spending: Bench) -> None:
    assert await spend(spending, 300.0) is Outcome.OK
    spending.clock.advance(60)
    assert await watch(spending) == []


async def test_such_a_share_of_a_cap_within_the_window_opens_it_at_once(spending: Bench) -> None:
    assert await spend(spending, 0.96 * CAP / TEN_SECONDS) is Outcome.OK
    spending.clock.advance(60)
    assert await watch(spending) == ["worker:w"]
    (event,) = await spending.events("breaker_opened")
    assert event["cause"] == "share"


async def test_a_daemon_that_never_lives_for_a_fifth_of_the_window_looks_at_its_start(
    spending: Bench,
) -> None:
    assert await spend(spending, 0.96 * CAP / TEN_SECONDS) is Outcome.OK
    opened = anyio.Event()

    def notice(facts: Sequence[object]) -> None:
        if any(isinstance(one, Recorded) and one.event.kind == "breaker_opened" for one in facts):
            opened.set()

    spending.store.listen(notice)
    policy = spending.kernel.policy
    looks = BurnWatch(
        spending.store,
        spending.clock,
        spending.kernel.log,
        lambda: (policy.budgets, policy.breakers),
    )
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(looks.run)
            await opened.wait()
            tasks.cancel_scope.cancel()
    assert set(await breakers(spending)) == {"worker:w"}


async def test_what_the_workers_spend_together_opens_the_systems_breaker(spending: Bench) -> None:
    policy = spending.kernel.policy
    system = Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=CAP // 2)
    budgets = Budgets([system], timezone=UTC_ZONE, warn_ratio=0.8)
    spending.kernel.policy = type(policy)(
        budgets=budgets, on_cap="wait", min_output_tokens=64, breakers=RULES
    )
    names = ["a", "b", "c", "d"]
    opened: list[str] = []
    while not opened:
        for name in names:
            await spend(spending, 1.0, name=name)
        spending.clock.advance(STEP_S)
        opened = await watch(spending)
    assert opened == ["system"], "none of them alone is too fast"


async def test_a_stuck_worker_makes_in_a_night_what_the_breakers_arithmetic_allows(
    bench: Bench,
) -> None:
    rules = BreakerRules(failures_max=5)
    bench.kernel.policy = type(bench.kernel.policy)(
        budgets=bench.kernel.policy.budgets, on_cap="wait", min_output_tokens=64, breakers=rules
    )

    async def stuck(ctx: Context) -> Outcome:
        async with ctx.spend(usd_max=0.000001, what="x"):
            return Outcome.FAILED

    night_s, every_s = 8 * 3_600, 60
    for _ in range(night_s // every_s):
        await tick(bench, stuck)
        bench.clock.advance(every_s)
    allowed = calls_allowed(rules, night_s, every_s)
    assert allowed == 15
    assert 0 < len(await bench.events("hold_placed")) <= allowed


def calls_allowed(rules: BreakerRules, night_s: int, every_s: int) -> int:
    """Return the failures that open it, and the probes for which there is time after them."""
    at_s, probes, openings = (rules.failures_max - 1) * every_s, 0, 1
    while (at_s := at_s + int(rules.cooldown_of(openings).total_seconds())) < night_s:
        probes, openings = probes + 1, openings + 1
    return rules.failures_max + probes
