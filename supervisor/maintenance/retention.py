"""Keeping the store small: old windows are exported, proved, sealed and pruned."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import msgspec

from supervisor.clock import Clock, to_us
from supervisor.errors import StoreUnavailable, SupervisorError
from supervisor.events.log import Origin
from supervisor.governance.pruning import Pruned, prune_page
from supervisor.governance.pruning_ended import prune_jobs
from supervisor.governance.retention import (
    DAYS_MAX,
    Batch,
    RetireCommand,
    Sealed,
    choose_batch,
    retire,
    rotate_system,
    system_is_due,
)
from supervisor.governance.retired_days import fold_days
from supervisor.governance.sums import Export
from supervisor.maintenance.export_file import check_export, write_export
from supervisor.maintenance.retention_duty import RetentionPlan
from supervisor.maintenance.staging import stage
from supervisor.storage.database import Database, Transaction
from supervisor.storage.scratch import ScratchStore

#: Between two pages of deletions, so that whoever else writes has the store in between.
_PAUSE_S = 0.005
_ALL_DAYS = 1_000_000
#: Another run may be at work on what is younger.
_LEFTOVER_S = 86_400.0


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done; `held_back` are workers of which an old window had to stay."""

    exports: tuple[Export, ...] = ()
    pruned: Pruned = Pruned()
    held_back: tuple[str, ...] = ()


class ExportRefused(SupervisorError):
    """What is to be exported does not pass the audit: it stays where it is."""

    code = "export_refused"


async def retain(
    database: Database, plan: RetentionPlan, *, clock: Clock, actor: str = "retention"
) -> Retained:
    """Export and prune every window that is over for `keep_days`, and return what was done.

    First what a run before has left half pruned. Then, export by export: copied, audited, written
    durably, read back, sealed in one transaction, and only then pruned page by page. Interrupted
    anywhere it goes on at the next run: what is sealed is in a file and goes; what is not, stays.

    Raises:
        ExportRefused: the audit of what is to go finds something; nothing of it was pruned.
        StoreUnavailable: the store or the export's file can't be used; what is sealed stays so.
        StoreDamaged: the file is not as it was written; nothing of it was pruned.
    """
    pruned = await _prune(database, plan, clock=clock, actor=actor)
    if plan.keep_days and await database.read(system_is_due, clock.now()):
        origin = Origin(at=clock.now(), actor=actor)
        await database.write(rotate_system, origin, plan.timezone)
    before_s = clock.now().timestamp() - _LEFTOVER_S
    await anyio.to_thread.run_sync(_remove_leftovers, plan.folder, before_s)
    exports: list[Export] = []
    held_back: tuple[str, ...] = ()
    while plan.keep_days:
        batch, export = await _export_next(database, plan, clock=clock, actor=actor)
        held_back = held_back if batch is None else batch.held_back
        if export is None:
            break
        exports.append(export)
        pruned += await _prune(database, plan, clock=clock, actor=actor)
    return Retained(exports=tuple(exports), pruned=pruned, held_back=held_back)


async def _prune(database: Database, plan: RetentionPlan, *, clock: Clock, actor: str) -> Pruned:
    # Before the keys of effects, which guard as long as their job is there.
    total = await _prune_jobs(database)
    while True:
        origin = Origin(at=clock.now(), actor=actor)
        found = await database.write(prune_page, origin, checkpoints_kept=plan.checkpoints_kept)
        if found == Pruned():
            return total
        total += found
        await anyio.sleep(_PAUSE_S)


async def _prune_jobs(database: Database) -> Pruned:
    gone, after = 0, 0
    while True:
        page = await database.write(prune_jobs, after=after)
        gone += page.gone
        if page.after is None:
            return Pruned(others=gone)
        after = page.after
        await anyio.sleep(_PAUSE_S)


async def _export_next(
    database: Database, plan: RetentionPlan, *, clock: Clock, actor: str
) -> tuple[Batch | None, Export | None]:
    """Export the oldest days; where these are no whole story, all that are old enough, or one."""
    refused: ExportRefused | None = None
    for days_max in (DAYS_MAX, _ALL_DAYS, 1):
        cut_us = to_us(clock.now() - timedelta(days=plan.keep_days))
        batch = await database.read(choose_batch, cut_us=cut_us, days_max=days_max)
        if batch is None or not batch.sessions:
            return batch, None
        try:
            sealed = await _export(database, plan, batch)
        except ExportRefused as error:
            if await database.read(_last_number) >= batch.number:
                return batch, None  # another process has just exported it, and prunes it
            refused = refused or error
            continue
        origin = Origin(at=clock.now(), actor=actor)
        command = RetireCommand(batch=batch, sealed=sealed)
        export = await database.write(retire, command, origin, plan.timezone)
        if export is None:
            await _forget(database, plan.folder / sealed.file)
        return batch, export
    assert refused is not None, "it was refused twice, or it returned"
    raise refused


def _last_export(tx: Transaction) -> Export | None:
    return tx.row("retention.last_export", Export)


def _last_number(tx: Transaction) -> int:
    last = _last_export(tx)
    return 0 if last is None else last.number


async def _forget(database: Database, path: Path) -> None:
    """Remove a file that was not sealed; of another process that wrote the same, it is its own."""
    last = await database.read(_last_export)
    if last is None or last.file != path.name:
        path.unlink(missing_ok=True)


def _remove_leftovers(folder: Path, before_s: float) -> None:
    """Remove what runs that were killed have left of exports that never got their name."""
    for path in (*folder.glob("retention-*"), *folder.glob(".retired-*.new")):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime > before_s:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


async def _export(database: Database, plan: RetentionPlan, batch: Batch) -> Sealed:
    """Write the batch into a file, which is durable and proved when this returns."""
    with tempfile.TemporaryDirectory(prefix="retention-", dir=_made(plan.folder)) as folder:
        scratch = await anyio.to_thread.run_sync(ScratchStore, Path(folder) / "staged.db")
        try:
            staged = await stage(database, batch, scratch)
            if not staged.report.is_clean:
                raise _refused(batch, staged.report.findings[0].text)
            if staged.strays:
                raise _refused(batch, f"{staged.strays} holds that no event has placed")
            write = partial(
                write_export, plan.folder, scratch, number=batch.number, version=plan.version
            )
            written = await anyio.to_thread.run_sync(write)
            fold = partial(scratch.read, fold_days, plan.timezone)
            days = await anyio.to_thread.run_sync(fold)
        finally:
            await anyio.to_thread.run_sync(scratch.close)
    await anyio.to_thread.run_sync(check_export, written.path, written.sha256)
    return Sealed(
        file=written.path.name,
        sha256=written.sha256,
        bytes=written.bytes,
        events=staged.report.events,
        sums=staged.sums,
        staying=staged.staying,
        days=days,
    )


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            subject=f"folder of exports {folder}",
            what=f"can't be made: {error.strerror}; nothing was pruned",
            fix="set [retention] folder to one that this user can write",
        ) from error
    return folder


def _refused(batch: Batch, finding: str) -> ExportRefused:
    if batch.held_back:
        return ExportRefused(
            subject=f"export {batch.number}",
            what=f"can not be told whole while older windows of {', '.join(batch.held_back)} stay;"
            f" nothing was pruned. What it lacks first: {finding}",
            fix="`supervisor sessions --worker NAME` shows what they wait for",
        )
    return ExportRefused(
        subject=f"export {batch.number}",
        what="does not pass the audit by itself and was not made; nothing was pruned. The first"
        f" finding: {finding}",
        fix="`supervisor audit`: where that is sound, a younger window tells of it, and they"
        " go together later; else keep a copy of the store and report it",
    )
