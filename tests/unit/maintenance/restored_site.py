"""A store in a folder that is backed up, lived on, and put back."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from supervisor.clock import VirtualClock, to_us
from supervisor.errors import Refusal
from supervisor.events.log import Origin
from supervisor.governance.audit import audit
from supervisor.governance.restoring import Restored
from supervisor.ledger.accounts import Amounts, Budget, Budgets, Unit
from supervisor.ledger.gaps import Spent
from supervisor.ledger.holds import Hold
from supervisor.ledger.periods import Period
from supervisor.maintenance.backup import BackedUp, back_up
from supervisor.maintenance.restore import RestoreOrder, restore
from supervisor.storage.sqlite_file import open_sqlite
from supervisor.worker.records import Skipped
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife

T = TypeVar("T")


class RestoredSite:
    """Daemons that live on one store one after the other, and a person between them."""

    def __init__(self, folder: Path, clock: VirtualClock) -> None:
        self.store = folder / "supervisor.db"
        self.backup = folder / "backup.db"
        self.clock = clock
        self._lives = 0
        self._commands = 0

    async def live(self, story: Callable[[RecordedLife], Awaitable[T]]) -> T:
        """Let a daemon live on the store, and end without a word."""
        database = await open_sqlite(self.store, now_us=self._now_us(), is_read_only=False)
        try:
            life = RecordedLife(database, self.clock)
            # Ids of lives and holds are never used twice, also after a restore.
            self._lives += 1
            life._boots = life._holds = 1_000 * self._lives
            return await story(life)
        finally:
            await database.close()

    async def back_up(self, target: Path | None = None, *, may_replace: bool = False) -> BackedUp:
        return await back_up(
            self.store, target or self.backup, now_us=self._now_us(), may_replace=may_replace
        )

    async def restore(
        self,
        spent: Spent | None = None,
        *,
        backup: Path | None = None,
        command_id: str = "",
    ) -> Restored:
        self._commands += 1
        self.clock.advance(1)
        origin = Origin(
            at=self.clock.now(),
            actor="ann",
            command_id=command_id or f"restore-{self._commands}",
        )
        order = RestoreOrder(
            backup=backup or self.backup,
            store=self.store,
            why="a test",
            spent=spent or Spent(),
            heartbeat=self.store.with_name("heartbeat.json"),
        )
        return await restore(order, origin=origin, timezone=UTC_ZONE)

    async def check_audit(self) -> None:
        """Assert that the store proves itself."""
        report = await self.live(lambda life: life.store.read(audit))
        assert report.findings == ()

    def lose(self) -> None:
        """Take the present store away, as a broken disk does."""
        for path in self.store.parent.glob("supervisor.db*"):
            path.unlink()

    def damage(self) -> None:
        """Tear the present store's pages, but not its header."""
        content = bytearray(self.store.read_bytes())
        for page in range(1, len(content) // 4096):
            content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
        self.store.write_bytes(content)

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Ask the store behind its driver's back."""
        connection = sqlite3.connect(self.store)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def balances(self) -> dict[object, tuple[object, object]]:
        """Return what each account has settled and holds."""
        found = self.rows("SELECT id, settled, held FROM accounts ORDER BY id")
        return {account: (settled, held) for account, settled, held in found}

    def files(self) -> set[str]:
        """Return the names of all files but the store's own log, which readers make."""
        logs = {"supervisor.db-wal", "supervisor.db-shm"}
        return {path.name for path in self.store.parent.iterdir()} - logs

    def _now_us(self) -> int:
        return to_us(self.clock.now())


def with_worker_day(limit_amount: int) -> Budgets:
    """Return limits among which is one on the worker's day, which others have not."""
    day = Budget(
        scope="worker:digest", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=limit_amount
    )
    cap = Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=1_000_000)
    return Budgets([day, cap], timezone=UTC_ZONE, warn_ratio=0.8)


async def start(life: RecordedLife) -> None:
    await life.start("digest", "triage")


def spending(*costs: int, worker: str = "digest") -> Callable[[RecordedLife], Awaitable[None]]:
    """Return a life in which one tick of the worker makes a call of each cost."""

    async def story(life: RecordedLife) -> None:
        await start(life)
        await life.tick(worker, *costs)

    return story


async def two_eras(site: RestoredSite) -> None:
    """Spend 0.10 USD, back up, spend 0.20 USD more."""
    await site.live(spending(100_000))
    await site.back_up()
    await site.live(spending(200_000))


async def spend_all(life: RecordedLife, *, cost: int = 50_000, calls_max: int = 100) -> int:
    """Make calls until one is refused, and return what they cost."""
    await start(life)
    spent = 0
    started = await life.begin("digest")
    if isinstance(started, Skipped):
        return 0
    for _ in range(calls_max):
        placed = await life.hold(
            "digest",
            started,
            Amounts(cost=cost, tokens=100, actions=1),
        )
        if isinstance(placed, Refusal):
            break
        assert isinstance(placed, Hold)
        await life.settle(placed, cost)
        spent += cost
    await life.finish("digest", started)
    return spent
