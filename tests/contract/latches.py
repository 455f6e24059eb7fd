"""The smallest write and read that a store can be asked for: a kill latch."""

from __future__ import annotations

import msgspec

from supervisor.storage.database import Transaction


class LatchRow(msgspec.Struct, frozen=True):
    """A latch as stored."""

    scope: str
    is_engaged: bool
    actor: str
    why: str
    at: int


def put(tx: Transaction, scope: str, why: str = "x") -> None:
    """Write one latch."""
    tx.run("governance.set_latch", scope=scope, is_engaged=True, actor="t", why=why, now=1)


def put_then_raise(tx: Transaction, scope: str) -> None:
    """Write and publish one, and fail."""
    put(tx, scope)
    tx.publish(scope)
    raise ValueError(scope)


def scopes(tx: Transaction) -> list[str]:
    """Return the latches that are there, by name."""
    return [row.scope for row in tx.rows("governance.engaged_latches", LatchRow)]
