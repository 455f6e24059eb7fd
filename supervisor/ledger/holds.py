"""What the ledger keeps: accounts and holds, as stored."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from supervisor.identity import NOBODY, Identity
from supervisor.ledger.accounts import Amounts, Call, Unit
from supervisor.storage.database import Transaction


class HoldStatus(StrEnum):
    """Where a hold stands; it leaves `open` exactly once."""

    OPEN = "open"
    SETTLED = "settled"
    RELEASED = "released"
    FORFEITED = "forfeited"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A counter with a limit, in `unit`; `settled + held` is what is used of it."""

    id: str
    scope: str
    period: str
    unit: Unit
    limit_amount: int
    settled: int
    held: int
    overrun: int
    resets_at: int | None
    warned_at: int | None
    exhausted_at: int | None

    @property
    def used(self) -> int:
        return self.settled + self.held

    @property
    def free(self) -> int:
        return max(self.limit_amount - self.used, 0)


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What a hold, or its end, has left of an account."""

    id: str
    unit: Unit
    limit_amount: int
    used: int
    resets_at: int | None
    warned_at: int | None


class HoldRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A call that asks for its worst case; `id` is the caller's command id."""

    id: str
    boot_id: str
    worker: str
    session_id: str
    tick: int
    model: str
    what: str
    amounts: Amounts
    identity: Identity = NOBODY
    conversation: str = ""

    @property
    def call(self) -> Call:
        return Call(
            worker=self.worker,
            session_id=self.session_id,
            model=self.model,
            identity=self.identity,
            conversation=self.conversation,
        )


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as stored; amounts in micro-USD, tokens and actions; who is not said is empty."""

    id: str
    boot_id: str
    worker: str
    session_id: str
    tick: int
    model: str
    what: str
    account_ids: str
    placed_at: int
    cost_held: int
    tokens_held: int
    actions_held: int
    status: HoldStatus
    cost_settled: int
    tokens_settled: int
    actions_settled: int
    why: str
    org: str = ""
    team: str = ""
    user_id: str = ""
    conversation: str = ""

    @property
    def held(self) -> Amounts:
        return Amounts(cost=self.cost_held, tokens=self.tokens_held, actions=self.actions_held)

    @property
    def settled(self) -> Amounts:
        return Amounts(
            cost=self.cost_settled, tokens=self.tokens_settled, actions=self.actions_settled
        )

    @property
    def accounts(self) -> list[str]:
        return self.account_ids.split("\n")


class Metering(msgspec.Struct, frozen=True, kw_only=True):
    """How a call was measured, for its event; spans in seconds."""

    input_tokens: int = 0
    output_tokens: int = 0
    duration_s: float = 0.0


def find_hold(tx: Transaction, hold_id: str) -> Hold | None:
    """Return a hold by its id."""
    return tx.row("ledger.hold", Hold, id=hold_id)


def find_account(tx: Transaction, account_id: str) -> Account | None:
    """Return an account by its id."""
    return tx.row("ledger.account", Account, id=account_id)


def find_spent(tx: Transaction, account_ids: Sequence[str]) -> list[Account]:
    """Return those of the accounts that are used up, ordered by id."""
    return tx.rows("ledger.spent_accounts", Account, ids=id_list(account_ids))


def id_list(ids: Sequence[str]) -> str:
    """Return ids as the one parameter that a statement takes for a list: a JSON array."""
    return msgspec.json.encode(ids).decode()
