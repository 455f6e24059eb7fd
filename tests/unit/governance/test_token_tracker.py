"""Token budgets for code that calls models itself."""

from __future__ import annotations

import anyio
import pytest

from supervisor import (
    Identity,
    InputRefused,
    TokenBudgetConfig,
    TokenBudgetExhausted,
    TokenBudgetTracker,
)
from supervisor.clock import VirtualClock
from supervisor.errors import CommandConflict, StoreUnavailable
from supervisor.events.log import EventRow, Origin
from supervisor.governance.audit import audit
from supervisor.governance.kill_switch import KillCommand, engage
from supervisor.identity import NOBODY
from supervisor.ledger.holds import Hold
from supervisor.storage.database import Database, Transaction
from tests.unit.worker.conftest import UTC_ZONE

ACME = Identity(org="acme")
ANN = Identity(org="acme", team="red", user="ann")
BOB = Identity(org="acme", team="red", user="bob")


def tracker(
    store: Database, clock: VirtualClock, *configs: TokenBudgetConfig
) -> TokenBudgetTracker:
    return TokenBudgetTracker(store, configs, clock=clock)


async def kinds_of(store: Database) -> list[str]:
    def read(tx: Transaction) -> list[EventRow]:
        wide = {"session_id": None, "worker": None, "kind": None, "correlation_id": None}
        return tx.rows("events.after", EventRow, position=0, since=None, rows_max=1_000, **wide)

    return [row.kind for row in await store.read(read)]


async def holds(store: Database) -> list[Hold]:
    def read(tx: Transaction) -> list[Hold]:
        found = [tx.row("ledger.hold", Hold, id=f"usage:u{number}") for number in range(1, 30)]
        return [hold for hold in found if hold is not None]

    return await store.read(read)


async def test_usage_is_a_row_and_an_event_and_counts_for_every_config_that_covers_it(
    store: Database, clock: VirtualClock
) -> None:
    budgets = tracker(
        store,
        clock,
        TokenBudgetConfig(ACME, "day", max_tokens=100),
        TokenBudgetConfig(Identity(user="ann"), "month", max_tokens=60, max_cost_usd=1.0),
    )
    await budgets.record_usage(
        ANN, model="p/m", input_tokens=30, output_tokens=10, cost_usd=0.25, command_id="u1"
    )
    (row,) = await holds(store)
    assert (row.status, row.tokens_settled, row.cost_settled) == ("settled", 40, 250_000)
    assert (row.org, row.team, row.user_id, row.model) == ("acme", "red", "ann", "p/m")
    assert "token_usage_recorded" in await kinds_of(store)
    check = await budgets.check_budget(ANN)
    assert {state.account: state.used for state in check.states} == {
        "org:acme/day/2026-06-01/tokens": 40,
        "user:ann/month/2026-06/tokens": 40,
        "user:ann/month/2026-06/micro_usd": 250_000,
    }
    assert (await store.read(audit)).findings == ()


async def test_all_configs_that_cover_a_call_must_pass_and_exactly_the_limit_does(
    store: Database, clock: VirtualClock
) -> None:
    budgets = tracker(
        store,
        clock,
        TokenBudgetConfig(ACME, "day", max_tokens=100),
        TokenBudgetConfig(Identity(user="ann"), "day", max_tokens=60),
        TokenBudgetConfig(NOBODY, "day", max_cost_usd=0.5),
    )
    assert (await budgets.check_budget(ANN, tokens=60, cost_usd=0.5)).allowed
    over = await budgets.check_budget(ANN, tokens=61, cost_usd=0.500001)
    assert not over.allowed
    assert len(over.reasons) == 2
    assert "account user:ann/day/2026-06-01/tokens has used 0 tokens of 60 tokens, 61" in "".join(
        over.reasons
    )
    assert (await budgets.check_budget(BOB, tokens=100)).allowed
    assert not (await budgets.check_budget(BOB, tokens=101)).allowed
    assert (await budgets.check_budget(Identity(org="other"), tokens=10**6)).allowed


async def test_usage_above_a_limit_is_recorded_first_and_then_raises(
    store: Database, clock: VirtualClock
) -> None:
    budgets = tracker(store, clock, TokenBudgetConfig(ACME, "day", max_tokens=100))
    await budgets.record_usage(ANN, input_tokens=100, command_id="u1")
    with pytest.raises(TokenBudgetExhausted, match="has used 101 tokens of 100") as told:
        await budgets.record_usage(BOB, output_tokens=1, command_id="u2")
    assert told.value.usage == "usage:u2"
    assert [row.tokens_settled for row in await holds(store)] == [100, 1]
    kinds = await kinds_of(store)
    assert kinds.count("token_usage_recorded") == 2
    assert kinds.count("token_budget_exhausted") == 1
    assert not (await budgets.check_budget(ANN)).allowed
    with pytest.raises(TokenBudgetExhausted):
        await budgets.record_usage(ANN, output_tokens=1, command_id="u3")
    assert (await kinds_of(store)).count("token_budget_exhausted") == 1
    assert (await store.read(audit)).findings == ()


async def test_the_same_usage_again_counts_once_and_other_usage_is_an_error(
    store: Database, clock: VirtualClock
) -> None:
    budgets = tracker(store, clock, TokenBudgetConfig(ACME, "day", max_tokens=100))
    first = await budgets.record_usage(ANN, input_tokens=10, cost_usd=0.1, command_id="u1")
    clock.advance(2 * 86_400)
    assert await budgets.record_usage(ANN, input_tokens=10, cost_usd=0.1, command_id="u1") == first
    assert (await kinds_of(store)).count("token_usage_recorded") == 1
    with pytest.raises(CommandConflict, match="has what 'reported: 10 tokens in, 0 out'"):
        await budgets.record_usage(ANN, output_tokens=10, cost_usd=0.1, command_id="u1")
    with pytest.raises(CommandConflict, match="has amounts"):
        await budgets.record_usage(ANN, input_tokens=10, cost_usd=0.2, command_id="u1")
    with pytest.raises(CommandConflict, match="has user 'ann', asked for now with 'bob'"):
        await budgets.record_usage(BOB, input_tokens=10, cost_usd=0.1, command_id="u1")
    with pytest.raises(CommandConflict, match="has model ''"):
        await budgets.record_usage(ANN, input_tokens=10, cost_usd=0.1, command_id="u1", model="p/m")
    assert (await store.read(audit)).findings == ()


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": -1},
        {"output_tokens": -5, "input_tokens": 10},
        {"cost_usd": -0.01},
        {"cost_usd": float("nan")},
        {"cost_usd": float("inf")},
        {"input_tokens": 10**18},
    ],
)
async def test_amounts_that_are_none_are_refused_and_nothing_is_recorded(
    store: Database, clock: VirtualClock, usage: dict[str, float]
) -> None:
    budgets = tracker(store, clock, TokenBudgetConfig(ACME, "day", max_tokens=100))
    with pytest.raises(InputRefused, match="are no amounts; give what was used: 0 or more"):
        await budgets.record_usage(ANN, command_id="u1", **usage)  # type: ignore[arg-type] # a table
    assert await holds(store) == []


async def test_amounts_under_a_cent_count(store: Database, clock: VirtualClock) -> None:
    budgets = tracker(store, clock, TokenBudgetConfig(ACME, "day", max_cost_usd=0.00001))
    for number in range(1, 11):
        await budgets.record_usage(ANN, cost_usd=0.000001, command_id=f"u{number}")
    with pytest.raises(TokenBudgetExhausted):
        await budgets.record_usage(ANN, cost_usd=0.0000001, command_id="u11")


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": -1},
        {"max_cost_usd": -0.5},
        {"max_cost_usd": float("nan")},
        {"max_tokens": 5, "period": "fortnight"},
        {},
        {"identity": Identity(org="a b"), "max_tokens": 1},
    ],
)
def test_a_config_that_limits_nothing_or_is_none_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputRefused):
        TokenBudgetConfig(**wrong)  # type: ignore[arg-type] # what somebody may write


class Locked:
    """A store that answers nobody."""

    async def read(self, *_: object) -> object:
        raise StoreUnavailable(subject="store", what="is locked by another process", fix="wait")


async def test_a_store_that_can_not_be_read_says_no(clock: VirtualClock) -> None:
    locked: Database = Locked()  # type: ignore[assignment] # only what is asked of it
    check = await tracker(locked, clock, TokenBudgetConfig(ACME, max_tokens=1)).check_budget(ANN)
    assert not check.allowed
    assert check.reasons == ("store_unavailable: store: is locked by another process; wait",)


async def test_a_kill_says_no_and_what_was_used_is_recorded_all_the_same(
    store: Database, clock: VirtualClock
) -> None:
    budgets = tracker(store, clock, TokenBudgetConfig(ACME, max_tokens=100))
    origin = Origin(at=clock.now(), actor="ann", command_id="k1")
    await store.write(engage, KillCommand(scope="system", why="test"), origin, UTC_ZONE)
    check = await budgets.check_budget(ANN)
    assert not check.allowed
    assert "kill switch system" in check.reasons[0]
    await budgets.record_usage(ANN, input_tokens=1, command_id="u1")
    assert len(await holds(store)) == 1


async def test_models_that_a_config_does_not_allow_are_a_reason(
    store: Database, clock: VirtualClock
) -> None:
    config = TokenBudgetConfig(ACME, "day", max_tokens=10, allowed_models=("local/*",))
    budgets = tracker(store, clock, config)
    assert (await budgets.check_budget(ANN, model="local/small")).allowed
    check = await budgets.check_budget(ANN, model="cloud/large")
    assert "is not among the allowed_models" in check.reasons[0]


async def test_16_tasks_that_ask_and_report_lose_no_unit(
    store: Database, clock: VirtualClock
) -> None:
    budgets = tracker(store, clock, TokenBudgetConfig(ACME, "day", max_tokens=10))
    told: list[str] = []

    async def one(number: int) -> None:
        try:
            await budgets.record_usage(ANN, input_tokens=1, command_id=f"u{number}")
        except TokenBudgetExhausted:
            told.append("exhausted")

    async with anyio.create_task_group() as tasks:
        for number in range(1, 17):
            tasks.start_soon(one, number)
    (state,) = (await budgets.check_budget(ANN)).states
    assert (state.settled, state.limit) == (16, 10)
    assert len(told) == 6
    assert (await store.read(audit)).findings == ()


async def test_what_was_used_before_a_config_stood_counts(
    store: Database, clock: VirtualClock
) -> None:
    await tracker(store, clock).record_usage(ANN, input_tokens=8, command_id="u1")
    budgets = tracker(store, clock, TokenBudgetConfig(ACME, "day", max_tokens=10))
    (state,) = (await budgets.check_budget(ANN)).states
    assert state.used == 8
    assert not (await budgets.check_budget(ANN, tokens=3)).allowed
