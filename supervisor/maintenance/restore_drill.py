"""Rehearsing a restore: backup, restore into a scratch store, audit, and compare balances."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import msgspec

from supervisor.clock import Clock, to_us
from supervisor.errors import StoreUnavailable
from supervisor.events.log import Origin
from supervisor.governance import drills
from supervisor.governance.audit import audit
from supervisor.governance.drills import Drill, Verdict
from supervisor.governance.kept import BackupFacts, backup_facts, descends_from
from supervisor.maintenance.backup import back_up
from supervisor.maintenance.restore import RestoreOrder, opened_file, restore
from supervisor.storage import sqlite_copies
from supervisor.storage.database import Database, Transaction


class _Balance(msgspec.Struct, frozen=True):
    id: str
    settled: int
    held: int


class _Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A store at one moment."""

    facts: BackupFacts
    balances: dict[str, _Balance]


class _Failed(Exception):
    """The drill has shown something; the text is its verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreDrill:
    """One drill on copies; the store itself is only read, and the verdict written into it.

    `backup` is the file to rehearse with, None for a fresh one. Written only by `run`.
    """

    database: Database
    store: Path
    scratch_in: Path
    backup: Path | None
    clock: Clock
    timezone: ZoneInfo
    actor: str
    id: str

    async def run(self) -> Verdict:
        """Hold the drill and record its verdict.

        Raises:
            IllegalMove: one is under way.
            StoreUnavailable: the store itself can't be read or written.
        """
        done = await self.database.write(drills.begin, Drill.RESTORE, self._origin(), self.timezone)
        if done is not None:
            return done
        began_s = self.clock.monotonic()
        verdict = self._verdict(passed=False, what="it was interrupted")
        scratch = Path(tempfile.mkdtemp(prefix=".drill-restore-", dir=self.scratch_in))
        try:
            what = await self._rehearse(scratch)
            taken_s = round(self.clock.monotonic() - began_s, 3)
            verdict = self._verdict(passed=True, measured_s=taken_s, what=what)
        except (_Failed, StoreUnavailable) as failed:
            verdict = self._verdict(passed=False, what=str(failed))
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(shutil.rmtree, scratch, True)
                await self.database.write(drills.finish, verdict, self._origin(), self.timezone)
        return verdict

    async def _rehearse(self, scratch: Path) -> str:
        before = await self.database.read(_snapshot)
        backup = self.backup or await self._back_up(scratch / "backup.db")
        store = scratch / "supervisor.db"
        # Something to replace: what the backup holds itself, so that nothing has to be carried.
        await anyio.to_thread.run_sync(sqlite_copies.copy_store, backup, store)
        async with opened_file(store, self._now_us()) as database:
            backed_up = await database.read(_snapshot)
            if self.backup is None and not await database.read(descends_from, before.facts):
                raise _Failed("the backup lacks events that were committed before it was made")
        order = RestoreOrder(backup=backup, store=store, why=f"drill {self.id}")
        restored = await restore(order, origin=self._origin("restore"), timezone=self.timezone)
        if not restored.is_known or restored.carried or restored.latched:
            raise _Failed(f"the restore carried what was there already: {restored}")
        async with opened_file(store, self._now_us()) as database:
            after, report = await database.read(_snapshot), await database.read(audit)
        if not report.is_clean:
            raise _Failed(f"the restored store does not pass the audit: {report.findings[0].text}")
        _require_same(backed_up.balances, after.balances)
        same = await self._compare_with_live(before, backed_up)
        return (
            f"{report.events} events are whole and prove every balance; {len(after.balances)}"
            f" accounts are as in the backup, {same} of them as in the store now"
        )

    async def _back_up(self, target: Path) -> Path:
        await back_up(self.store, target, now_us=self._now_us(), may_replace=False)
        return target

    async def _compare_with_live(self, before: _Snapshot, backed_up: _Snapshot) -> int:
        """Compare the backup with the store itself, which lives on, and return what is the same."""
        now, is_later = await self.database.read(_snapshot_after, backed_up.facts)
        if not is_later:
            raise _Failed("the store is no later state of the backup: their events differ")
        if self.backup is None:
            still = {
                account: balance
                for account, balance in before.balances.items()
                if now.balances.get(account) == balance
            }
            _require_same(still, backed_up.balances)
        return sum(
            now.balances.get(account) == balance for account, balance in backed_up.balances.items()
        )

    def _now_us(self) -> int:
        return to_us(self.clock.now())

    def _verdict(self, *, passed: bool, what: str, measured_s: float = 0.0) -> Verdict:
        return Verdict(
            drill=Drill.RESTORE, id=self.id, passed=passed, measured_s=measured_s, what=what
        )

    def _origin(self, part: str = "") -> Origin:
        command_id = f"{self.id}/{part}" if part else self.id
        return Origin(at=self.clock.now(), actor=self.actor, command_id=command_id)


def _snapshot(tx: Transaction) -> _Snapshot:
    balances = {row.id: row for row in tx.rows("restore.every_balance", _Balance)}
    return _Snapshot(facts=backup_facts(tx), balances=balances)


def _snapshot_after(tx: Transaction, backup: BackupFacts) -> tuple[_Snapshot, bool]:
    return _snapshot(tx), descends_from(tx, backup)


def _require_same(expected: Mapping[str, _Balance], found: Mapping[str, _Balance]) -> None:
    for account, balance in expected.items():
        other = found.get(account)
        if other != balance:
            told = "is missing" if other is None else f"has settled {other.settled}, held"
            has = told if other is None else f"{told} {other.held}"
            raise _Failed(
                f"account {account} {has}; it must have settled {balance.settled},"
                f" held {balance.held}"
            )
