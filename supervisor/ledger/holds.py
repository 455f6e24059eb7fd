"""What the ledger keeps: accounts and holds, as stored."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from supervisor.identity import NOBODY, Identity
from supervisor.ledger.accounts import Amounts, Call, Unit
from supervisor.storage.database import Transaction, Value
from supervisor.storage.memory import Keep, Later


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


class Balance(msgspec.Struct, kw_only=True):
    """An account as its holds move it, in place; only for the transaction that has asked for it.

    `held_by` and `settled_by` are by how much, since it was last written.
    """

    id: str
    unit: Unit
    limit_amount: int
    settled: int
    held: int
    overrun: int
    resets_at: int | None
    warned_at: int | None
    held_by: int = 0
    settled_by: int = 0

    @property
    def used(self) -> int:
        return self.settled + self.held

    @property
    def free(self) -> int:
        return max(self.limit_amount - self.used, 0)

    def fits(self, amount: int) -> bool:
        """Return whether as much can be held: nothing always can, also where all is spent."""
        return amount == 0 or self.settled + self.held + amount <= self.limit_amount

    def hold(self, amount: int) -> None:
        """Hold more; that it fits is asked before, and checked by the database."""
        self.held += amount
        self.held_by += amount

    def end(self, *, held: int, settled: int) -> None:
        """Hold less, and count what was used; what stands above the limit then is overrun."""
        self.hold(-held)
        self.settled += settled
        self.settled_by += settled
        self.overrun = max(self.overrun, self.settled + self.held - self.limit_amount)

    def take_moves(self) -> tuple[Value, ...]:
        """Return what is to be written of it, which then counts as written."""
        moves = (self.held_by, self.settled_by, self.overrun, self.id, self.limit_amount)
        self.held_by = self.settled_by = 0
        return moves


#: By id. The database adds the moves to what it has itself, and checks the limit again.
_BALANCES: Keep[str, Balance] = Keep(
    "accounts",
    Later("ledger.move_account", "held_by", "settled_by", "overrun", "id", "limit_amount"),
    Balance.take_moves,
)


class HoldRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A call that asks for its worst case; `id` is the caller's command id.

    One that is not of its session is only on record there, and under none of its limits.
    """

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
    is_of_session: bool = True

    @property
    def call(self) -> Call:
        return Call(
            worker=self.worker,
            session_id=self.session_id if self.is_of_session else "",
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
        return split_ids(self.account_ids)


class Metering(msgspec.Struct, frozen=True, kw_only=True):
    """How a call was measured, for its event; spans in seconds.

    `context` are the input tokens that count against a context budget, `saved` the micro-USD that
    the best model would have cost more.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    duration_s: float = 0.0
    context: int = 0
    saved: int = 0


def find_hold(tx: Transaction, hold_id: str) -> Hold | None:
    """Return a hold by its id."""
    return tx.row("ledger.hold", Hold, id=hold_id)


def find_account(tx: Transaction, account_id: str) -> Account | None:
    """Return an account by its id."""
    return tx.row("ledger.account", Account, id=account_id)


def balances_of(tx: Transaction, account_ids: Sequence[str]) -> list[Balance]:
    """Return those of the accounts that exist, in the order asked for, to be moved in place."""
    kept = tx.kept(_BALANCES)
    missing = [account_id for account_id in account_ids if account_id not in kept]
    if missing:
        for found in tx.rows("ledger.balances", Balance, ids=id_list(missing)):
            kept[found.id] = found
    return [kept[account_id] for account_id in account_ids if account_id in kept]


def keep_moves(tx: Transaction, balances: Sequence[Balance]) -> None:
    """See to it that what was moved on the accounts is written."""
    for balance in balances:
        tx.touch(_BALANCES, balance.id)


def split_ids(account_ids: str) -> list[str]:
    """Return the ids of a hold's accounts, which it keeps in one text; it may have none."""
    return account_ids.split("\n") if account_ids else []


def with_id(account_ids: str, account_id: str) -> str:
    """Return the text of a hold's accounts with one more."""
    return f"{account_ids}\n{account_id}" if account_ids else account_id


def id_list(ids: Sequence[str]) -> str:
    """Return ids as the one parameter that a statement takes for a list: a JSON array."""
    return msgspec.json.encode(ids).decode()
