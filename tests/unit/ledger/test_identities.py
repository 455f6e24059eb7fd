"""Limits on whoever a call is made for: every scope, every period, every ancestor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from supervisor.errors import BudgetExceeded, CommandConflict
from supervisor.events import model_kinds
from supervisor.events.log import Recorded
from supervisor.governance.audit import audit
from supervisor.identity import NOBODY, Identity
from supervisor.ledger import ledger
from supervisor.ledger.accounts import Amounts, Budget, Budgets, Call, Unit
from supervisor.ledger.holds import Hold, HoldRequest, Metering, find_account
from supervisor.ledger.periods import Period
from supervisor.ledger.scopes import is_under, scope_for
from tests.unit.ledger.test_ledger import Till, budget, budgets

ANN = Identity(org="acme", team="red", user="ann")
BOB = Identity(org="acme", team="blue", user="bob")
EVE = Identity(org="other", team="red", user="eve")
#: A scope, and a call that is not under it where the call of `ANN` in `c1` is.
SCOPES: dict[str, tuple[Identity, str, str, str]] = {
    "org:acme": (EVE, "c1", "w", "p/m"),
    "team:red": (BOB, "c1", "w", "p/m"),
    "user:ann": (BOB, "c1", "w", "p/m"),
    "user:*": (BOB, "c1", "w", "p/m"),
    "org:acme,user:ann": (BOB, "c1", "w", "p/m"),
    "org:*,team:*": (BOB, "c1", "w", "p/m"),
    "conversation:c1": (ANN, "c2", "w", "p/m"),
    "conversation:*": (ANN, "c2", "w", "p/m"),
    "worker:w": (ANN, "c1", "v", "p/m"),
    "worker:*": (ANN, "c1", "v", "p/m"),
    "model:p/m": (ANN, "c1", "w", "p/other"),
    "model:*": (ANN, "c1", "w", "p/other"),
}


class Counter(Till):
    """A till at which anybody can stand."""

    def ask(
        self,
        amount: int,
        identity: Identity = NOBODY,
        conversation: str = "",
        worker: str = "w",
        model: str = "p/m",
    ) -> Hold | BudgetExceeded:
        """Ask for so many micro-USD, tokens and actions."""
        self.count += 1
        request = HoldRequest(
            id=f"h{self.count}",
            boot_id="boot",
            worker=worker,
            session_id=self.session_id,
            tick=1,
            model=model,
            what="test",
            amounts=Amounts(cost=amount, tokens=amount, actions=amount),
            identity=identity,
            conversation=conversation,
        )
        return self._journaled(ledger.reserve, request, self.limits)


def counter(*limits: Budget, timezone: str = "UTC") -> Counter:
    made = budgets(*limits)
    return Counter(Budgets(made._budgets, timezone=ZoneInfo(timezone), warn_ratio=0.8))


def refused_by(answer: Hold | BudgetExceeded) -> str:
    return answer.account if isinstance(answer, BudgetExceeded) else ""


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("period", Period)
@pytest.mark.parametrize("scope", SCOPES)
def test_a_limit_counts_what_is_under_it_to_the_last_unit_and_nobody_else(
    scope: str, period: Period, unit: Unit
) -> None:
    till = counter(budget(scope, period, unit, 10))
    assert isinstance(till.ask(6, ANN, "c1"), Hold)
    assert isinstance(till.ask(4, ANN, "c1"), Hold), "exactly its limit is within it"
    resolved = scope_for(scope, call(ANN, "c1"))
    assert refused_by(till.ask(1, ANN, "c1")).startswith(f"{resolved}/{period}/")
    assert isinstance(till.ask(10, *SCOPES[scope]), Hold), "somebody else's"


def call(identity: Identity, conversation: str = "") -> Call:
    return Call(
        worker="w", session_id="s", model="p/m", identity=identity, conversation=conversation
    )


@pytest.mark.parametrize("period", [Period.HOUR, Period.DAY, Period.WEEK, Period.MONTH])
def test_each_session_can_have_a_limit_for_a_period_of_its_own(period: Period) -> None:
    till = counter(budget("session", period, Unit.TOKENS, 10))
    till.ask(10)
    assert refused_by(till.ask(1)).startswith(f"session:{till.session_id}/{period}/")


def test_every_ancestor_of_a_call_is_checked() -> None:
    limits = [
        budget("org:acme", Period.DAY, Unit.TOKENS, 30),
        budget("team:red", Period.DAY, Unit.TOKENS, 20),
        budget("user:ann", Period.DAY, Unit.TOKENS, 10),
    ]
    till = counter(*limits)
    placed = till.ask(10, ANN)
    assert isinstance(placed, Hold)
    assert {name.split("/")[0] for name in placed.accounts} >= {"org:acme", "team:red", "user:ann"}
    assert refused_by(till.ask(1, ANN)).startswith("user:ann/")
    assert isinstance(till.ask(10, Identity(team="red", user="cat")), Hold)
    assert refused_by(till.ask(1, Identity(team="red", user="cat"))).startswith("team:red/")
    assert isinstance(till.ask(20, BOB), Hold)
    assert refused_by(till.ask(1, BOB)).startswith("org:acme/")


def test_a_refused_hold_takes_nothing_from_the_ancestors_that_had_room() -> None:
    till = counter(
        budget("org:acme", Period.DAY, Unit.TOKENS, 100),
        budget("user:ann", Period.DAY, Unit.TOKENS, 5),
    )
    assert refused_by(till.ask(6, ANN)).startswith("user:ann/")
    assert used(till, "org:acme/day/2026-06-01/tokens") == 0


def used(till: Till, account_id: str) -> int:
    account = till.store.write(find_account, account_id)
    assert account is not None, account_id
    return account.used


def test_a_call_of_nobody_is_under_no_limit_of_somebody() -> None:
    till = counter(budget("user:*", Period.DAY, Unit.TOKENS, 0))
    assert isinstance(till.ask(9), Hold)
    assert isinstance(till.ask(9, Identity(org="acme")), Hold)


def test_of_two_limits_on_one_account_the_lower_one_holds() -> None:
    till = counter(
        budget("user:*", Period.DAY, Unit.TOKENS, 10),
        budget("user:ann", Period.DAY, Unit.TOKENS, 5),
        budget("user:bob", Period.DAY, Unit.TOKENS, 50),
    )
    assert refused_by(till.ask(6, ANN)).startswith("user:ann/")
    assert isinstance(till.ask(5, ANN), Hold)
    assert refused_by(till.ask(11, BOB)).startswith("user:bob/")
    assert isinstance(till.ask(10, BOB), Hold)


#: The last moment of a period in Berlin, where it is two hours later than in UTC, and its key.
ENDS = {
    Period.DAY: (datetime(2026, 6, 2, 21, 59, 59, tzinfo=UTC), "2026-06-02", "2026-06-03"),
    Period.WEEK: (datetime(2026, 6, 7, 21, 59, 59, tzinfo=UTC), "2026-W23", "2026-W24"),
    Period.MONTH: (datetime(2026, 6, 30, 21, 59, 59, tzinfo=UTC), "2026-06", "2026-07"),
}


@pytest.mark.parametrize("period", ENDS)
def test_windows_begin_at_midnight_on_monday_and_on_the_1st_of_the_timezone(
    period: Period,
) -> None:
    till = counter(budget("user:*", period, Unit.TOKENS, 10), timezone="Europe/Berlin")
    last, key, next_key = ENDS[period]
    till.now = last
    till.ask(10, ANN)
    assert refused_by(till.ask(1, ANN)) == f"user:ann/{period}/{key}/tokens"
    till.now = last.replace(hour=22, minute=0, second=0)
    assert isinstance(till.ask(10, ANN), Hold)
    assert used(till, f"user:ann/{period}/{next_key}/tokens") == 10


@pytest.mark.parametrize("scope", ["org:acme", "team:*", "user:ann", "conversation:*"])
def test_a_limit_that_comes_later_counts_what_its_scope_has_used(scope: str) -> None:
    till = counter()
    for who, conversation in ((ANN, "c1"), (EVE, "c2"), (NOBODY, "")):
        hold = till.ask(4, who, conversation)
        assert isinstance(hold, Hold)
        till._journaled(ledger.settle, hold, Amounts(cost=3, tokens=3, actions=1), Metering())
    till.ask(2, ANN, "c1")
    till.limits = counter(budget(scope, Period.MONTH, Unit.TOKENS, 10)).limits
    till.ask(0, ANN, "c1")
    resolved = scope_for(scope, call(ANN, "c1"))
    assert used(till, f"{resolved}/month/2026-06/tokens") >= 3 + 2
    assert refused_by(till.ask(10, ANN, "c1")).startswith(f"{resolved}/")


def test_a_hold_in_flight_joins_the_account_of_a_limit_that_comes_later() -> None:
    till = counter()
    early = till.ask(7, ANN)
    assert isinstance(early, Hold)
    till.limits = counter(budget("user:ann", Period.DAY, Unit.TOKENS, 10)).limits
    assert refused_by(till.ask(4, ANN)).startswith("user:ann/")
    assert isinstance(till.ask(3, ANN), Hold)
    joined = [
        fact.event
        for fact in till.store.published
        if isinstance(fact, Recorded) and fact.event.kind == "hold_joined"
    ]
    assert joined == [model_kinds.HoldJoined(hold="h1", account="user:ann/day/2026-06-01/tokens")]
    till._journaled(ledger.settle, early, Amounts(cost=1, tokens=1, actions=1), Metering())
    assert used(till, "user:ann/day/2026-06-01/tokens") == 1 + 3
    assert till.store.write(audit).findings == ()


def test_a_hold_keeps_for_whom_it_is_and_is_nobody_elses() -> None:
    till = counter()
    placed = till.ask(1, ANN, "c1")
    assert isinstance(placed, Hold)
    assert (placed.org, placed.team, placed.user_id, placed.conversation) == (
        "acme",
        "red",
        "ann",
        "c1",
    )
    till.count = 0
    with pytest.raises(CommandConflict, match="has user 'ann', asked for now with 'bob'"):
        till.ask(1, Identity(org="acme", team="red", user="bob"), "c1")
    till.count = 0
    with pytest.raises(CommandConflict, match="has conversation 'c1'"):
        till.ask(1, ANN, "c2")


def test_the_record_proves_for_whom_a_hold_was() -> None:
    till = counter(budget("user:*", Period.DAY, Unit.TOKENS, 10))
    till.ask(1, ANN, "c1")
    assert till.store.write(audit).findings == ()
    till.store.connection.execute("UPDATE holds SET user_id = 'bob'")
    (finding,) = till.store.write(audit).findings
    assert "its row says user_id bob, its events ann" in finding.text


@pytest.mark.parametrize(
    ("given", "default", "is_then"),
    [
        (NOBODY, ANN, ANN),
        (Identity(user="cat"), ANN, Identity(org="acme", team="red", user="cat")),
        (EVE, ANN, EVE),
        (Identity(user="cat"), NOBODY, Identity(user="cat")),
    ],
)
def test_what_an_identity_leaves_out_is_the_workers_own(
    given: Identity, default: Identity, is_then: Identity
) -> None:
    assert given.within(default) == is_then


@pytest.mark.parametrize(
    ("scope", "template", "is_one"),
    [
        ("user:ann", "user:*", True),
        ("user:ann", "user:ann", True),
        ("user:ann", "user:bob", False),
        ("org:a,user:b", "org:a,user:*", True),
        ("org:a,user:b", "org:a", False),
        ("org:a", "org:a,user:*", False),
        ("session:w@1", "session", True),
        ("system", "system", True),
        ("system", "session", False),
        ("model:a/b,c", "model:a/b,c", True),
    ],
)
def test_an_account_is_of_the_limit_that_made_it(scope: str, template: str, is_one: bool) -> None:
    assert is_under(scope, template) is is_one


def test_the_record_is_sound_after_all_of_it() -> None:
    till = counter(*(budget(scope, Period.DAY, Unit.TOKENS, 9) for scope in SCOPES))
    holds: Sequence[Hold | BudgetExceeded] = [
        till.ask(amount, who, conversation)
        for amount in (1, 5, 9)
        for who in (ANN, BOB, EVE, NOBODY)
        for conversation in ("c1", "")
    ]
    for number, hold in enumerate(holds):
        if isinstance(hold, Hold) and number % 2:
            till.forfeit(msgspec.structs.replace(hold, account_ids=""))
    assert till.store.write(audit).findings == ()
