"""How far long work has come, item by item, and what it carries from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from supervisor.clock import to_us
from supervisor.errors import InputRefused, Refusal, SupervisorError
from supervisor.events import job_kinds as kinds
from supervisor.events.log import Journal
from supervisor.storage.database import Transaction
from supervisor.storage.readable import readable_row, readable_rows

LOOPS_MAX = 100
_SECOND_US = 1_000_000


class WorkTakenAway(Refusal):
    """The tick or the job that is worked for has ended meanwhile: it is somebody else's now."""

    code = "work_taken_away"

    def __init__(self, *, owner: str) -> None:
        super().__init__(
            subject=f"items of {owner}",
            what="are not this tick's any more: it was recovered, or its job's lease ran out",
            fix="nothing: whoever has them goes on behind the last item that was committed",
        )


class ItemsChanged(SupervisorError):
    """The items that a loop would go on with are not those that it was at; it begins anew."""

    code = "items_changed"

    def __init__(self, *, owner: str, done: int, last_item: str) -> None:
        super().__init__(
            subject=f"items of {owner}",
            what=f"are not the same: item {done} was {last_item!r}",
            fix="nothing, the next attempt begins with the first one; to go on where it was, give"
            " the same items in the same order each time",
        )


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A row: `done` items are committed, the last one `last_item`; `item` is the one in work.

    One without a `name` is what a worker has said, and not committed. `kept` is JSON; moments are
    microseconds since 1970 UTC. `began_*` are of the attempt that runs, `boot_id` of its life
    where it runs.
    """

    owner: str
    name: str
    job: str
    worker: str
    tick: int
    done: Annotated[int, msgspec.Meta(ge=0)]
    total: int | None
    last_item: str
    item: str
    kept: str
    began_at: int
    began_done: int
    at: int
    boot_id: str = ""

    def eta_s(self, now_us: int) -> float | None:
        """Return the seconds that are left at this attempt's pace, None where nobody can say."""
        did, took_us = self.done - self.began_done, self.at - self.began_at
        if self.total is None or did <= 0:
            return None
        left_us = max(self.total - self.done, 0) * took_us / did
        # The item in work has begun already; one that takes longer than usual is due any moment.
        waited_us = min(max(now_us - self.at, 0), left_us)
        return round((left_us - waited_us) / _SECOND_US, 3)


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """A tick's loop over items; `job` is empty, and `token` None, where it works for no job."""

    worker: str
    tick: int
    name: str
    job: str = ""
    token: int | None = None

    @property
    def owner(self) -> str:
        """Whose progress it is: a job's own, whichever worker does it, else the worker's."""
        return f"job:{self.job}" if self.job else f"worker:{self.worker}"


class DoneItem(msgspec.Struct, frozen=True, kw_only=True):
    """The `done`-th item, by its label, with what the work carries on as JSON."""

    done: int
    total: int | None
    label: str
    kept: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of its progress; nobody goes on by it."""

    done: int
    total: int | None
    item: str


class _Number(msgspec.Struct, frozen=True):
    number: int


def begin_loop(tx: Transaction, journal: Journal, loop: Loop, total: int | None) -> Progress:
    """Begin a loop where its job, or the ticks since one that ended well, has left it.

    With its first item where the row was damaged: the audit names that.

    Raises:
        InputRefused: its owner has too many loops.
    """
    if not loop.job:
        tx.run("progress.forget_ended", owner=loop.owner)
    found = readable_row(tx, "progress.find", Progress, owner=loop.owner, name=loop.name)
    others = tx.row("progress.loops", _Number, owner=loop.owner, name=loop.name)
    if found is None and others is not None and others.number >= LOOPS_MAX:
        raise InputRefused(
            subject=f"items of {loop.owner}",
            what=f"have {LOOPS_MAX} names already",
            fix="give the loops of one unit of work the same few names each time",
        )
    return _write(tx, journal, loop, total, found)


def begin_anew(tx: Transaction, journal: Journal, loop: Loop, total: int | None) -> Progress:
    """Begin a loop with its first item, whatever was done of it."""
    return _write(tx, journal, loop, total, None)


def _write(
    tx: Transaction, journal: Journal, loop: Loop, total: int | None, found: Progress | None
) -> Progress:
    now, done = to_us(journal.origin.at), found.done if found else 0
    row = Progress(
        owner=loop.owner,
        name=loop.name,
        job=loop.job,
        worker=loop.worker,
        tick=loop.tick,
        done=done,
        total=total,
        last_item=found.last_item if found else "",
        item="",
        kept=found.kept if found else "{}",
        began_at=now,
        began_done=done,
        at=now,
    )
    tx.run(
        "progress.begin",
        owner=row.owner,
        name=row.name,
        job=row.job,
        worker=row.worker,
        tick=row.tick,
        done=row.done,
        total=row.total,
        last_item=row.last_item,
        kept=row.kept,
        now=now,
    )
    journal.add(
        kinds.ItemsBegun(
            worker=loop.worker,
            tick=loop.tick,
            name=loop.name,
            job=loop.job,
            done=done,
            total=total,
        )
    )
    return row


def end_item(tx: Transaction, journal: Journal, loop: Loop, item: DoneItem) -> None:
    """Commit that one more item is done."""
    changed = tx.run(
        "progress.advance",
        owner=loop.owner,
        name=loop.name,
        done=item.done,
        total=item.total,
        last_item=item.label,
        kept=item.kept,
        now=to_us(journal.origin.at),
    )
    assert changed == 1, f"{loop.owner} is not at item {item.done} of {loop.name}"
    journal.add(
        kinds.ItemDone(
            worker=loop.worker,
            tick=loop.tick,
            name=loop.name,
            job=loop.job,
            done=item.done,
            total=item.total,
            item=item.label,
        )
    )


def name_item(tx: Transaction, loop: Loop, done: int, item: str) -> None:
    """Name the item that is in work behind the `done`-th; nothing where that is not so any more."""
    tx.run(
        "progress.name_item",
        owner=loop.owner,
        name=loop.name,
        done=done,
        worker=loop.worker,
        tick=loop.tick,
        item=item,
    )


def tell_progress(tx: Transaction, loop: Loop, told: Told, at: datetime) -> None:
    """Show what a worker says of its progress; nothing where its tick is over."""
    if is_at_work(tx, loop):
        tx.run(
            "progress.tell",
            owner=loop.owner,
            job=loop.job,
            worker=loop.worker,
            tick=loop.tick,
            done=told.done,
            total=told.total,
            item=told.item,
            now=to_us(at),
        )


def is_at_work(tx: Transaction, loop: Loop) -> bool:
    """Return whether the loop's job, or its tick, is still its own."""
    if loop.job:
        return tx.row("progress.runs_job", _Number, job=loop.job, token=loop.token) is not None
    return tx.row("progress.runs_tick", _Number, worker=loop.worker, tick=loop.tick) is not None


def progress_of(tx: Transaction, owner: str) -> list[Progress]:
    """Return how far a job (`job:ID`) or a worker's ticks (`worker:NAME`) have come."""
    return readable_rows(tx, "progress.of_owner", Progress, owner=owner)


def running_progress(tx: Transaction, rows_max: int) -> Sequence[Progress]:
    """Return what is at work now, of each worker the latest first."""
    return readable_rows(tx, "progress.running", Progress, rows_max=rows_max)


def left_progress(tx: Transaction, rows_max: int) -> Sequence[Progress]:
    """Return what workers' next ticks go on with."""
    return readable_rows(tx, "progress.left", Progress, rows_max=rows_max)


def forget_progress(tx: Transaction, owner: str) -> int:
    """Let the next loop of an owner begin with its first item; return how many rows it had."""
    return tx.run("progress.forget", owner=owner)
