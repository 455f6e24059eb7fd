"""The daemon's alerts in virtual time: whatever is down, each alert arrives once."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import anyio
import pytest

from supervisor.alerts.channels import Channel
from supervisor.alerts.duty import Alerts, Configured, Watched
from supervisor.alerts.facts import Severity
from supervisor.alerts.failing import WorkerNews
from supervisor.alerts.quiet import QuietHours
from supervisor.alerts.record import Route, Terms, open_alerts
from supervisor.alerts.settings import Settings
from supervisor.events import kinds
from supervisor.events.event import Event
from supervisor.events.log import Origin
from supervisor.governance.rotation import system_journal
from supervisor.simulation.virtual_time import SimulatedClock, VirtualLoop
from supervisor.storage.database import Transaction
from tests.unit.alerts.scripted_channel import ScriptedChannel
from tests.unit.inline_database import InlineDatabase
from tests.unit.recorded_log import RecordedLog

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ZONE = ZoneInfo("UTC")
MINUTE_S = 60.0
KILLED = kinds.KillSwitchEngaged(scope="system", why="stop")
RELEASED = kinds.KillSwitchReleased(scope="system", why="go on")


class World:
    """A store, a virtual clock, channels, and what the daemon sees of itself."""

    def __init__(self, recorded: RecordedLog, **up_at_s: float) -> None:
        self.clock = SimulatedClock(NOON)
        self.database = InlineDatabase()
        self.channels = {
            name: ScriptedChannel(self.clock, up_at_s=at_s) for name, at_s in up_at_s.items()
        }
        self.stuck: list[str] = []
        self.degradations: list[str] = []
        self.workers: dict[str, WorkerNews] = {}
        self.quiet: QuietHours | None = None
        self._recorded = recorded

    def settings(self) -> Settings:
        routes = tuple(Route(channel=name, least=Severity.WARNING) for name in self.channels)
        terms = Terms(routes=routes, remind_after_s=4 * 3600, timezone=ZONE)
        return Settings(terms=terms, approvals_age_s=1800, quiet=self.quiet)

    def open_channels(self) -> Mapping[str, Channel]:
        return dict(self.channels)

    def live(self, story: Callable[[World], Awaitable[None]]) -> None:
        """Let the alerts run while a story happens, and for as long as it takes."""

        async def main() -> None:
            self.alerts = Alerts(
                database=self.database,
                clock=self.clock,
                log=self._recorded.log,
                configured=Configured(settings=self.settings, channels=self.open_channels),
                watched=Watched(
                    stuck=lambda: self.stuck,
                    degradations=lambda: self.degradations,
                    workers=lambda: self.workers,
                ),
                chance=random.Random(1),  # noqa: S311 - jitter, not a secret
            )
            self.database.listen(self.alerts.follow)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.alerts.run)
                await story(self)
                tasks.cancel_scope.cancel()

        VirtualLoop(self.clock).live(main())

    async def happen(self, *events: Event) -> None:
        def record(tx: Transaction) -> None:
            origin = Origin(at=self.clock.now(), actor="test")
            with system_journal(tx, ZONE, origin) as journal:
                for event in events:
                    journal.add(event)

        await self.database.write(record)


@pytest.fixture
def world(recorded: RecordedLog) -> World:
    return World(recorded, ops=0.0)


def test_a_fact_that_is_over_and_comes_again_at_once_is_another_alert(world: World) -> None:
    async def story(world: World) -> None:
        await world.happen(KILLED, RELEASED, KILLED, RELEASED, KILLED)
        await anyio.sleep(MINUTE_S)
        [still_open] = await world.database.read(open_alerts)
        assert still_open.key == "kill:system"

    world.live(story)
    arrived = [f"{message.kind}" for message in world.channels["ops"].arrived]
    assert sorted(arrived) == ["raised"] * 3 + ["resolved"] * 2


def test_a_webhook_that_was_down_for_ten_minutes_gets_each_alert_once_after_it_is_back(
    recorded: RecordedLog,
) -> None:
    world = World(recorded, ops=10 * MINUTE_S, pager=0.0)
    failed = WorkerNews(life="failed", outcome="failed", progress_at=None)
    world.workers = {f"w{number}": failed for number in range(5)}

    async def story(world: World) -> None:
        for number in range(5):
            await world.happen(
                kinds.WorkerFailed(worker=f"w{number}", crashes=1, window_s=1, error="x")
            )
            await anyio.sleep(MINUTE_S)
        await anyio.sleep(30 * MINUTE_S)

    world.live(story)
    expected = [f"raised worker w{number} has failed" for number in range(5)]
    assert world.channels["ops"].told == expected
    assert world.channels["pager"].told == expected
    # It was asked again and again while it was down, and not like mad.
    tries = [at_s for at_s in world.channels["ops"].tries if at_s < 10 * MINUTE_S]
    assert 8 < len(tries) < 30


def test_a_channel_that_is_down_holds_up_no_other(recorded: RecordedLog) -> None:
    world = World(recorded, ops=1e9, pager=0.0)

    async def story(world: World) -> None:
        await world.happen(KILLED)
        await anyio.sleep(1)

    world.live(story)
    assert world.channels["pager"].told == ["raised kill switch system is engaged"]
    assert world.channels["ops"].told == []


def test_a_hundred_identical_failures_are_one_alert_and_its_reminders(world: World) -> None:
    async def story(world: World) -> None:
        for _ in range(100):
            await world.happen(KILLED)
            await anyio.sleep(6 * MINUTE_S)

    world.live(story)
    title = "kill switch system is engaged"
    # In ten hours, with reminders after 4 h and, at twice the distance, at 12 h.
    assert world.channels["ops"].told == [f"raised {title}", f"reminder {title}"]


def test_another_process_is_heard_of_at_its_commit_and_else_within_half_a_minute(
    world: World,
) -> None:
    async def story(world: World) -> None:
        world.database._listeners.clear()
        await world.happen(KILLED)
        world.alerts.look_soon()
        await anyio.sleep(0.1)
        assert len(world.channels["ops"].told) == 1
        await world.happen(RELEASED)
        await anyio.sleep(31)

    world.live(story)
    assert [told.split()[0] for told in world.channels["ops"].told] == ["raised", "resolved"]


def test_a_stuck_worker_is_told_and_its_end_too(world: World) -> None:
    async def story(world: World) -> None:
        world.stuck.append("worker a is stuck in tick 7")
        await anyio.sleep(60)
        world.stuck.clear()
        await anyio.sleep(60)

    world.live(story)
    title = "worker a is stuck in tick 7"
    assert world.channels["ops"].told == [f"raised {title}", f"resolved {title}"]


def test_a_failed_worker_is_well_again_when_it_has_ticked_well(world: World) -> None:
    async def story(world: World) -> None:
        await world.happen(kinds.WorkerFailed(worker="a", crashes=9, window_s=1, error="x"))
        await anyio.sleep(60)
        world.workers["a"] = WorkerNews(life="failed", outcome="failed", progress_at=NOON)
        await anyio.sleep(60)
        assert len(await world.database.read(open_alerts)) == 1
        world.workers["a"] = WorkerNews(life="running", outcome="ok", progress_at=world.clock.now())
        await anyio.sleep(60)
        assert await world.database.read(open_alerts) == []

    world.workers["a"] = WorkerNews(life="failed", outcome="failed", progress_at=None)
    world.live(story)
    assert [told.split()[0] for told in world.channels["ops"].told] == ["raised", "resolved"]


def test_a_store_that_does_not_answer_is_told_all_the_same_and_that_it_is_back(
    world: World,
) -> None:
    async def story(world: World) -> None:
        world.database.failures = 10**6
        world.alerts.look_soon()
        await anyio.sleep(5 * MINUTE_S)
        assert world.channels["ops"].told == ["raised the store did not answer"]
        world.database.failures = 0
        await anyio.sleep(2 * MINUTE_S)

    world.live(story)
    back = world.channels["ops"].arrived[-1]
    assert len(world.channels["ops"].arrived) == 2
    assert "it does again" in back.what


def test_in_quiet_hours_only_the_gravest_is_told_and_the_rest_at_their_end(world: World) -> None:
    async def story(world: World) -> None:
        await world.happen(
            kinds.MemoryExceeded(resident_mb=900, limit_mb=768),  # a warning
            KILLED,
        )
        await anyio.sleep(3_000)
        assert world.channels["ops"].told == ["raised kill switch system is engaged"]
        await anyio.sleep(3_000)

    world.quiet = QuietHours(start=time(11), end=time(13), timezone=ZONE, least=Severity.CRITICAL)
    world.live(story)
    assert world.channels["ops"].told[1:] == ["raised the daemon used too much memory"]


def test_a_changed_config_is_taken_up(world: World, recorded: RecordedLog) -> None:
    async def story(world: World) -> None:
        await anyio.sleep(1)
        world.channels["new"] = ScriptedChannel(world.clock)
        world.alerts.reconfigure()
        await anyio.sleep(1)
        await world.happen(KILLED)
        await anyio.sleep(1)

    world.live(story)
    assert world.channels["new"].told == ["raised kill switch system is engaged"]


def test_with_nothing_new_nothing_is_written(world: World) -> None:
    async def story(world: World) -> None:
        await world.happen(KILLED)
        await anyio.sleep(60)
        writes = world.database.writes
        await anyio.sleep(3 * 3600)
        assert world.database.writes == writes

    world.live(story)
