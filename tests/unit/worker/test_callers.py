"""On whose behalf a worker's calls are held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest

from supervisor.errors import BudgetExceeded, InputRefused, TokenBudgetExhausted
from supervisor.governance.audit import audit
from supervisor.identity import Identity
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.periods import Period
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction
from supervisor.storage.memory import Later
from supervisor.worker.context import Context
from supervisor.worker.tick import TickEnd, run_tick
from tests.unit.worker.conftest import UTC_ZONE, Bench

ACME = Identity(org="acme", team="red")


def limit(bench: Bench, *limits: tuple[str, Unit, int]) -> None:
    """Give the bench these limits of a day besides its cap."""
    budgets = [
        Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=10**9),
        *(
            Budget(scope=scope, period=Period.DAY, unit=unit, limit_amount=amount)
            for scope, unit, amount in limits
        ),
    ]
    made = Budgets(budgets, timezone=UTC_ZONE, warn_ratio=0.8)
    bench.kernel.policy = replace(bench.kernel.policy, budgets=made)


async def tick(
    bench: Bench, work: Callable[[Context], Awaitable[None]], identity: Identity = ACME
) -> TickEnd:
    async def run(ctx: Context) -> None:
        await work(ctx)

    plan = replace(await bench.plan(run), identity=identity)
    return await run_tick(bench.kernel, plan)


async def held_for(bench: Bench) -> list[tuple[object, ...]]:
    """Return for whom each hold of the record is, in order."""
    return [
        tuple(event.get(kind, "") for kind in ("org", "team", "user", "conversation"))
        for event in await bench.events("hold_placed")
    ]


async def test_a_call_is_made_for_the_workers_identity_unless_it_names_another(
    bench: Bench,
) -> None:
    async def work(ctx: Context) -> None:
        await ctx.model.complete("a", max_tokens=1)
        await ctx.model.complete("b", max_tokens=1, identity={"user": "ann"}, conversation="c1")
        async with ctx.model.stream("c", max_tokens=1, identity=Identity(org="other")) as stream:
            async for _ in stream:
                pass
        async with ctx.spend(usd_max=0.01, what="maps", conversation="c2") as hold:
            hold.release()

    assert (await tick(bench, work)).outcome is Outcome.OK
    assert await held_for(bench) == [
        ("acme", "red", "", ""),
        ("acme", "red", "ann", "c1"),
        ("other", "red", "", ""),
        ("acme", "red", "", "c2"),
    ]
    assert (await bench.store.read(audit)).findings == ()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"identity": {"group": "x"}}, "names 'group'; an identity has org, team and user"),
        ({"identity": {"user": "a b"}}, "has a space, a comma, a *"),
        ({"identity": {"user": ""}}, "is empty"),
        ({"conversation": "x" * 129}, "has 129 characters"),
        ({"conversation": "a\nb"}, "has a space, a comma, a * or what can't be printed"),
    ],
)
async def test_a_name_that_can_not_be_kept_is_refused_before_the_call(
    bench: Bench, words: dict[str, object], says: str
) -> None:
    async def work(ctx: Context) -> None:
        await ctx.model.complete("hi", **words)  # type: ignore[arg-type] # what a worker may write

    end = await tick(bench, work)
    assert isinstance(end.refusal, InputRefused)
    assert says in str(end.refusal)
    assert await held_for(bench) == []
    (refused,) = await bench.events("call_refused")
    assert refused["code"] == "input_refused"


async def test_a_worker_whose_org_has_used_its_budget_up_is_not_called(bench: Bench) -> None:
    limit(bench, ("org:acme", Unit.ACTIONS, 1))

    async def work(ctx: Context) -> None:
        await ctx.model.complete("hi", max_tokens=1)

    assert (await tick(bench, work)).outcome is Outcome.OK
    end = await tick(bench, work)
    assert end.outcome is Outcome.SKIPPED
    assert isinstance(end.refusal, BudgetExceeded)
    assert end.refusal.account == "org:acme/day/2026-06-01/actions"
    (exhausted,) = await bench.events("budget_exhausted")
    assert exhausted["account"] == "org:acme/day/2026-06-01/actions"


async def test_a_users_used_up_token_budget_is_on_record_once(bench: Bench) -> None:
    limit(bench, ("user:*", Unit.TOKENS, 500))

    async def work(ctx: Context) -> None:
        for _ in range(3):
            with pytest.raises(BudgetExceeded):
                await ctx.model.complete("hi" * 400, max_tokens=100, identity={"user": "ann"})
        await ctx.model.complete("hi", max_tokens=100, identity={"user": "bob"})

    assert (await tick(bench, work)).outcome is Outcome.OK
    (exhausted,) = await bench.events("token_budget_exhausted")
    assert exhausted["account"] == "user:ann/day/2026-06-01/tokens"


@pytest.mark.parametrize("scope", ["user:ann", "conversation:*", "org:acme,user:*"])
async def test_16_tasks_against_a_cap_of_10_units_get_10(bench: Bench, scope: str) -> None:
    limit(bench, (scope, Unit.ACTIONS, 10))
    granted: list[str] = []
    refused: list[BudgetExceeded] = []

    async def spend_one(ctx: Context) -> None:
        whose = {"user": "ann"}
        try:
            async with ctx.spend(usd_max=0, what="unit", identity=whose, conversation="c"):
                await anyio.lowlevel.checkpoint()
                granted.append("unit")
        except BudgetExceeded as refusal:
            refused.append(refusal)

    async def work(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(16):
                tasks.start_soon(spend_one, ctx)

    assert (await tick(bench, work)).outcome is Outcome.OK
    assert (len(granted), len(refused)) == (10, 6)
    assert (await bench.store.read(audit)).findings == ()


async def test_a_call_for_nobody_costs_no_statement_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statements of a settled call on open accounts, counted; a new one needs a reason."""
    seen: list[str] = []

    async def work(ctx: Context) -> None:
        await ctx.model.complete("warm", max_tokens=1)
        await ctx.calls.flush()
        _count_statements(bench, monkeypatch, seen)
        await ctx.model.complete("hi", max_tokens=1)
        await ctx.calls.flush()
        monkeypatch.undo()

    assert (await tick(bench, work, Identity())).outcome is Outcome.OK
    moving = [name for name in seen if name.startswith("ledger.")]
    # Postgres asks again what SQLite remembers, as others write there; nothing else is asked.
    known = {"ledger.balances", "ledger.hold", "ledger.clock"}
    assert [name for name in moving if name not in known] == [
        "ledger.place_hold",
        "ledger.turn_hold",
    ]
    assert len(moving) <= 6


def _count_statements(bench: Bench, monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> None:
    write = bench.store.write

    class Counted:
        """A transaction that tells what it was asked."""

        def __init__(self, tx: Transaction) -> None:
            self._tx = tx

        def __getattr__(self, name: str) -> object:
            method = getattr(self._tx, name)
            if name not in ("run", "row", "rows", "each", "later"):
                return method

            def told(statement: str | Later, *args: object, **values: object) -> object:
                seen.append(statement if isinstance(statement, str) else statement.statement)
                return method(statement, *args, **values)

            return told

    def counted(function: Callable[..., object], *args: object, **kw: object) -> object:
        return write(lambda tx: function(Counted(tx), *args, **kw))

    monkeypatch.setattr(bench.store, "write", counted)


async def test_a_worker_reports_calls_of_its_own_under_its_session(bench: Bench) -> None:
    limit(bench, ("org:acme", Unit.TOKENS, 10), ("worker:w", Unit.TOKENS, 10))

    async def work(ctx: Context) -> None:
        assert (await ctx.budgets.check_budget(tokens=10)).allowed
        await ctx.budgets.record_usage(input_tokens=10, command_id="mine")
        check = await ctx.budgets.check_budget({"user": "ann"}, tokens=1)
        assert [state.used for state in check.states if state.unit is Unit.TOKENS] == [10, 10]
        assert not check.allowed
        await ctx.budgets.record_usage(input_tokens=1)

    end = await tick(bench, work)
    assert end.outcome is Outcome.REFUSED
    assert isinstance(end.refusal, TokenBudgetExhausted)
    recorded = await bench.events("token_usage_recorded")
    assert [(event["worker"], event["identity"]) for event in recorded] == [
        ("w", "org:acme,team:red")
    ] * 2
    assert (await bench.store.read(audit)).findings == ()
