"""What a restart does not forget of alerts, and which of them end by what the store shows."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from supervisor import Context, Outcome
from supervisor.alerts.facts import Severity
from supervisor.alerts.rates import RateRule, read_past
from supervisor.alerts.record import Route, Terms, note_seen, open_alerts, take_in
from supervisor.alerts.recovered import read_standing
from supervisor.clock import VirtualClock, to_us
from supervisor.events import kinds
from supervisor.events.log import Origin
from supervisor.governance.job_commands import JobCommand, discard
from supervisor.governance.rotation import system_journal
from supervisor.ledger.accounts import Budgets
from supervisor.lifecycle import Life, begin_life, end_life
from supervisor.storage.database import Database, Transaction
from tests.contract.job_bench import JobBench

ZONE = ZoneInfo("UTC")
RULE = RateRule(kind="worker_crashed", window_s=720, rise=3.0, at_least=6)
PART_S = 60


class Record:
    """Lives of a daemon, and crashes in them."""

    def __init__(self, database: Database, clock: VirtualClock) -> None:
        self.database = database
        self.clock = clock
        self._lives = 0

    @property
    def _life(self) -> Life:
        return Life(boot_id=f"boot-{self._lives}", pid=1, host="here", version="0")

    async def start(self) -> None:
        self._lives += 1
        budgets = Budgets([], timezone=ZONE, warn_ratio=0.8)
        await self.database.write(begin_life, self._life, [], budgets, self._origin())

    async def stop(self) -> None:
        await self.database.write(end_life, self._life, ZONE, self._origin(), why="test")

    async def crash(self, times: int = 1) -> None:
        def write(tx: Transaction) -> None:
            with system_journal(tx, ZONE, self._origin()) as journal:
                for _ in range(times):
                    journal.add(kinds.WorkerCrashed(worker="a", error="", restart_in_s=1))

        await self.database.write(write)

    async def beat(self) -> None:
        def write(tx: Transaction) -> None:
            now = to_us(self.clock.now())
            tx.run("daemons.beat", boot_id=self._life.boot_id, now=now, state="running")

        await self.database.write(write)

    async def past(self) -> tuple[int, ...]:
        now = self.clock.now() + timedelta(microseconds=1)
        (past,) = await self.database.read(read_past, [RULE], now)
        return past.parts

    def _origin(self) -> Origin:
        return Origin(at=self.clock.now(), actor="test")


@pytest.fixture
def record(database: Database, clock: VirtualClock) -> Record:
    return Record(database, clock)


async def live(record: Record, parts: int) -> None:
    """Live on, with a crash in the middle of each part, to the middle of the next."""
    for _ in range(parts):
        await record.crash()
        record.clock.advance(PART_S)
        await record.beat()


async def test_a_short_stop_is_no_gap_in_what_was_counted(record: Record) -> None:
    await record.start()
    record.clock.advance(PART_S / 2)
    await live(record, 30)
    await record.stop()
    record.clock.advance(PART_S / 2)
    await record.start()
    assert await record.past() == (1,) * 23 + (0,)
    await record.crash(5)
    assert (await record.past())[-2:] == (1, 5)


async def test_a_long_stop_is_no_time_without_events(record: Record) -> None:
    await record.start()
    await live(record, 30)
    await record.stop()
    record.clock.advance(3 * PART_S)
    await record.start()
    assert await record.past() == ()
    record.clock.advance(PART_S * 5 + 1)
    await record.beat()
    assert await record.past() == (0,) * 5


async def test_a_young_record_has_no_more_past_than_its_age(record: Record) -> None:
    assert await record.past() == ()
    await record.start()
    record.clock.advance(PART_S / 2)
    await live(record, 4)
    record.clock.advance(PART_S / 2)
    await record.beat()
    assert await record.past() == (1,) * 4 + (0,)


# --- what ends


class Jobs(JobBench):
    async def look(self) -> tuple[list[str], list[str]]:
        """Look as the daemon does; return the keys that are open, and why others have ended."""
        route = Route(channel="ops", least=Severity.INFO)
        terms = Terms(routes=(route,), remind_after_s=60.0, timezone=ZONE)
        await self.store.write(take_in, terms, self.origin())
        standing = await self.store.read(read_standing)
        await self.store.write(note_seen, [], standing.over, terms, self.origin())
        known = await self.store.read(open_alerts)
        return [alert.key for alert in known], [over.why for over in standing.over]


@pytest.fixture
def jobs(database: Database, clock: VirtualClock, tmp_path: Path) -> Jobs:
    return Jobs(database, clock, tmp_path)


async def fails(ctx: Context) -> Outcome:
    return ctx.failed("no luck")


async def test_dead_letters_are_told_until_none_is_left_and_then_that(jobs: Jobs) -> None:
    dead = [(await jobs.enqueue(number, attempts_max=1)).id for number in range(2)]
    for _ in dead:
        await jobs.tick(fails)
    assert await jobs.look() == (["dead_letters:q"], [])
    for number, job in enumerate(dead):
        origin = Origin(at=jobs.clock.now(), actor="ann", command_id=f"discard-{number}")
        await jobs.store.write(discard, JobCommand(job=job, why="test"), origin, ZONE)
        if number == 0:
            assert await jobs.look() == (["dead_letters:q"], []), "one is still there"
    assert await jobs.look() == ([], ["none of its jobs is dead any more"])
    resolved = await jobs.events("alert_resolved")
    assert [one["key"] for one in resolved] == ["dead_letters:q"]


async def test_an_effect_of_unknown_outcome_is_told_until_it_is_known(jobs: Jobs) -> None:
    await jobs.enqueue(1)

    async def loses(ctx: Context) -> None:
        async with ctx.once("mail:42"):
            raise ConnectionError("no answer came")

    await jobs.tick(loses)
    assert await jobs.look() == (["effect_unknown:queue:q/mail:42"], [])

    async def finds(ctx: Context) -> None:
        async def probe() -> object:
            return "sent"

        async with ctx.once("mail:42", probe=probe) as effect:
            assert not effect.is_new

    await jobs.enqueue(2)
    await jobs.tick(finds)
    assert await jobs.look() == ([], ["it is known by now: done"])
