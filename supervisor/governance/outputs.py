"""What a unit of work hands over, and what of it is remembered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec

from supervisor.clock import to_us
from supervisor.storage.database import Transaction


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a worker hands over: a report's Markdown, or any JSON value.

    `key` names it: the same key with the same content is the same output once more. `text` is
    what there is to read of it. `at` is the moment that it tells of, None where it is not said.
    """

    content: object
    text: str
    key: str = ""
    at: datetime | None = None
    is_report: bool = False

    @property
    def fingerprint(self) -> str:
        """The same for texts that differ in space and case alone (SHA-256, 32 hex digits)."""
        plain = " ".join(self.text.casefold().split())
        return hashlib.sha256(plain.encode()).hexdigest()[:32]


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """An output that was published before, by its fingerprint and key."""

    fingerprint: str
    key: str


def known_outputs(tx: Transaction, worker: str, rows_max: int) -> list[Remembered]:
    """Return the worker's newest published outputs."""
    return tx.rows("outputs.newest", Remembered, worker=worker, rows_max=rows_max)


def remember_outputs(
    tx: Transaction, worker: str, outputs: Sequence[Remembered], *, at: datetime, rows_max: int
) -> None:
    """Remember outputs as published, and forget what is beyond the newest `rows_max`."""
    if not rows_max:
        return
    for output in outputs:
        tx.run(
            "outputs.remember",
            worker=worker,
            fingerprint=output.fingerprint,
            key=output.key,
            now=to_us(at),
        )
    tx.run("outputs.forget_oldest", worker=worker, rows_max=rows_max)


def forget_output(tx: Transaction, worker: str, output: Remembered) -> None:
    """Forget an output of which it is known that it was not published."""
    tx.run("outputs.forget", worker=worker, fingerprint=output.fingerprint, key=output.key)
