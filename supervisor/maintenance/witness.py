"""Noticing that the store has lost commits: then it knows less than the last heartbeat did."""

from __future__ import annotations

from pathlib import Path

import msgspec

from supervisor.errors import StoreDamaged
from supervisor.storage.database import Transaction


class _Worker(msgspec.Struct, frozen=True):
    last_tick: int


class Witness(msgspec.Struct, frozen=True):
    """What `heartbeat.json` knows of the store: each was committed before it was written there."""

    boot_id: str
    workers: dict[str, _Worker]


class _Life(msgspec.Struct, frozen=True):
    boot_id: str


class _Row(msgspec.Struct, frozen=True):
    name: str
    last_tick: int


def read_witness(path: Path) -> Witness | None:
    """Return what the last heartbeat knew; None where there was none, or where it is torn."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Witness)
    except (OSError, msgspec.DecodeError):
        return None


def check_not_behind(tx: Transaction, witness: Witness | None, path: Path) -> None:
    """Refuse a store that has lost what it knew at the last heartbeat: money may be among it.

    A log that was cut or has decayed, and a backup that was put back, are whole as far as they
    go, and nothing in them tells of what came after. A new store beside the heartbeat of an old one
    is what is left where its files were deleted: it would forget every kill and all that was spent.

    Raises:
        StoreDamaged: it knows less than `witness`, which is in the file at `path`.
    """
    if witness is None:
        return
    if tx.row("daemons.latest", _Life) is None:
        raise _new(f"the life {witness.boot_id}", path)
    if tx.row("daemons.by_boot", _Life, boot_id=witness.boot_id) is None:
        raise _behind(f"the life {witness.boot_id}", path)
    known = {row.name: row.last_tick for row in tx.rows("workers.all", _Row)}
    for name, worker in witness.workers.items():
        if known.get(name, 0) < worker.last_tick:
            raise _behind(f"tick {worker.last_tick} of worker {name}", path)


def _behind(what: str, path: Path) -> StoreDamaged:
    return StoreDamaged(
        subject="store",
        what=f"has lost commits: it does not know {what}, which {path} does;"
        " what was spent since is not known",
        fix='see "A damaged store" in RUNBOOK.md; when the caps are right, delete that file',
    )


def _new(what: str, path: Path) -> StoreDamaged:
    return StoreDamaged(
        subject="store",
        what=f"is a new one, and {path} knows {what} of another; what was spent and killed in that"
        " one is not known",
        fix='put it back, or see "A damaged store" in RUNBOOK.md; to forget it and begin anew,'
        " delete that file",
    )
