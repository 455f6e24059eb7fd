"""Reading on past rows that somebody has damaged: one of them must not stop the others."""

from __future__ import annotations

import contextlib

import msgspec

from supervisor.storage.database import RowT, Transaction, Value


def readable_rows(
    tx: Transaction, statement: str, into: type[RowT], /, **values: Value
) -> list[RowT]:
    """Return the rows that can be read, and leave out the others: `supervisor audit` names them."""
    try:
        return tx.rows(statement, into, **values)
    except msgspec.ValidationError:
        found = []
        for row in tx.copies(statement, **values):
            with contextlib.suppress(msgspec.ValidationError):
                found.append(msgspec.convert(row, into, strict=False))
        return found


def readable_row(
    tx: Transaction, statement: str, into: type[RowT], /, **values: Value
) -> RowT | None:
    """Return the first row, None where there is none or it can't be read."""
    return next(iter(readable_rows(tx, statement, into, **values)), None)
