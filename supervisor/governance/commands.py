"""Doing an operator's command once, however often it is sent (requirement S4)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from supervisor.clock import to_us
from supervisor.errors import CommandConflict
from supervisor.events.log import Origin
from supervisor.redaction import REDACTION
from supervisor.storage.database import Transaction

R = TypeVar("R", bound=msgspec.Struct)


class _Command(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    operation: str
    content: str
    result: str


def once(
    tx: Transaction,
    operation: str,
    content: msgspec.Struct,
    origin: Origin,
    *,
    result: type[R],
    perform: Callable[[], R],
) -> R:
    """Return `perform()`, or its first result where this command id was carried out before.

    `perform` runs in the caller's transaction: the command and its record are one.

    Raises:
        CommandConflict: the command id was used for another operation or with other content.
    """
    command_id = origin.command_id
    assert command_id, f"{operation} needs a command id"
    # Cleaned as the store does it, so that its hash is of what is kept, and a repetition is seen.
    encoded = REDACTION.text(msgspec.json.encode(content, order="sorted").decode()).encode()
    done = tx.row("governance.command", _Command, id=command_id)
    if done is not None:
        _check_same(done, operation, encoded)
        return msgspec.json.decode(done.result, type=result)
    performed = perform()
    tx.run(
        "governance.record_command",
        id=command_id,
        operation=operation,
        content=encoded.decode(),
        content_hash=hashlib.sha256(encoded).digest(),
        result=msgspec.json.encode(performed).decode(),
        now=to_us(origin.at),
    )
    return performed


def done_before(
    tx: Transaction, operation: str, content: msgspec.Struct, origin: Origin, *, result: type[R]
) -> R | None:
    """Return the first result of this command id, None where it was not carried out here.

    Raises:
        CommandConflict: the command id was used for another operation or with other content.
    """
    done = tx.row("governance.command", _Command, id=origin.command_id)
    if done is None:
        return None
    _check_same(done, operation, msgspec.json.encode(content, order="sorted"))
    return msgspec.json.decode(done.result, type=result)


def _check_same(done: _Command, operation: str, content: bytes) -> None:
    if done.operation != operation:
        raise conflict(done.id, "operation", done.operation, operation)
    check_same_content(done.id, done.content, content)


def check_same_content(command_id: str, before: str, now: bytes) -> None:
    """Check that a command that is sent again has the content that it had.

    Raises:
        CommandConflict: it has another one; it names the first field that differs.
    """
    old = msgspec.json.decode(before, type=dict[str, object])
    new = msgspec.json.decode(now, type=dict[str, object])
    for field in sorted(old.keys() | new.keys()):
        if old.get(field) != new.get(field):
            raise conflict(command_id, field, old.get(field), new.get(field))


def conflict(command_id: str, field: str, before: object, now: object) -> CommandConflict:
    """Return the error of a command id that was used before with another value of a field."""
    return CommandConflict(
        subject=f"command {command_id}",
        what=f"was used before with {field} {before!r}, now with {now!r}; nothing was done",
        fix="use a fresh command id for another command",
    )
