"""The rows of holds: found, placed and ended, those of a running tick without asking the store."""

from __future__ import annotations

import msgspec

from supervisor.ledger.accounts import Amounts
from supervisor.ledger.holds import Hold, HoldRequest, HoldStatus, find_hold
from supervisor.storage.database import Transaction
from supervisor.storage.memory import Keep, Later

#: Every hold of a tick, by the hold's id: of those ticks that have begun since the memory has.
_OF_TICKS: Keep[tuple[str, int], dict[str, Hold]] = Keep("holds")
_PLACE = Later(
    "ledger.place_hold",
    "id",
    "boot_id",
    "worker",
    "session_id",
    "tick",
    "model",
    "what",
    "account_ids",
    "placed_at",
    "cost_held",
    "tokens_held",
    "actions_held",
    "org",
    "team",
    "user_id",
    "conversation",
    is_new=True,
)
_TURN = Later(
    "ledger.turn_hold", "status", "now", "cost", "tokens", "actions", "why", "id", "before"
)


def remember_no_holds(tx: Transaction, worker: str, tick: int) -> None:
    """Remember the holds of a tick that begins now: it has none yet."""
    tx.kept(_OF_TICKS)[worker, tick] = {}


def call_hold_id(worker: str, tick: int, call: int) -> str:
    """Return the id of the hold of a tick's call, counted from 1: no other tick has one such."""
    return f"{worker}#{tick}.{call}"


def find_before(tx: Transaction, request: HoldRequest) -> Hold | None:
    """Return the hold that was placed under the request's id before."""
    holds = tx.kept(_OF_TICKS).get((request.worker, request.tick))
    if holds is not None:
        if request.id in holds:
            return holds[request.id]
        if request.id.startswith(f"{request.worker}#{request.tick}."):
            return None
    return find_hold(tx, request.id)


def place(tx: Transaction, hold: Hold) -> None:
    """Store a new hold."""
    tx.later(
        _PLACE,
        hold.id,
        hold.boot_id,
        hold.worker,
        hold.session_id,
        hold.tick,
        hold.model,
        hold.what,
        hold.account_ids,
        hold.placed_at,
        hold.cost_held,
        hold.tokens_held,
        hold.actions_held,
        hold.org,
        hold.team,
        hold.user_id,
        hold.conversation,
    )
    _remember(tx, hold)


def _remember(tx: Transaction, hold: Hold) -> None:
    holds = tx.kept(_OF_TICKS).get((hold.worker, hold.tick))
    if holds is not None:
        holds[hold.id] = hold


def hold_now(tx: Transaction, hold: Hold) -> Hold:
    """Return a hold as it stands: it may have ended since, or more accounts have joined it."""
    holds = tx.kept(_OF_TICKS).get((hold.worker, hold.tick))
    stored = None if holds is None else holds.get(hold.id)
    stored = stored or find_hold(tx, hold.id)
    assert stored is not None, f"hold {hold.id} was never placed"
    return stored


def turn(
    tx: Transaction, stored: Hold, to: HoldStatus, actual: Amounts, *, now_us: int, why: str
) -> None:
    """Give a hold, that is known as it stands, another status."""
    tx.later(
        _TURN,
        to,
        now_us,
        actual.cost,
        actual.tokens,
        actual.actions,
        why,
        stored.id,
        stored.status,
    )
    ended = msgspec.structs.replace(
        stored,
        status=to,
        cost_settled=actual.cost,
        tokens_settled=actual.tokens,
        actions_settled=actual.actions,
        why=why,
    )
    _remember(tx, ended)


def take_open_holds(tx: Transaction, worker: str, tick: int) -> list[Hold]:
    """Return the holds that a tick has left open, by their ids; the tick is over then."""
    known = tx.kept(_OF_TICKS).pop((worker, tick), None)
    if known is None:
        return tx.rows("ledger.open_holds_of_tick", Hold, worker=worker, tick=tick)
    return [hold for _, hold in sorted(known.items()) if hold.status is HoldStatus.OPEN]
