"""Alerts in the store: one a fact, told once to each channel, closed when it is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest

from supervisor.alerts.acknowledging import AcknowledgeCommand, acknowledge
from supervisor.alerts.facts import Fact, Over, Said, Severity
from supervisor.alerts.record import (
    Alert,
    Message,
    Route,
    Terms,
    claim,
    newest_alerts,
    note_delivered,
    note_failed,
    note_seen,
    open_alerts,
    raise_fact,
    resolve,
    take_in,
    undelivered,
)
from supervisor.clock import VirtualClock, to_us
from supervisor.errors import CommandConflict, IllegalMove, NotFound
from supervisor.events import kinds
from supervisor.events.event import Event
from supervisor.events.log import Origin
from supervisor.governance.rotation import system_journal
from supervisor.storage.database import Database, Transaction
from tests.databases import RawConnection

ZONE = ZoneInfo("UTC")
HOUR_S = 3_600.0
TERMS = Terms(
    routes=(
        Route(channel="ops", least=Severity.WARNING),
        Route(channel="pager", least=Severity.CRITICAL),
    ),
    remind_after_s=HOUR_S,
    timezone=ZONE,
)
FAILED = kinds.WorkerFailed(worker="a", crashes=11, window_s=3600, error="KeyError")


def fact(key: str, *, said: Said = Said.WHILE_IT_LASTS, **changes: object) -> Fact:
    found = Fact(
        key=key,
        severity=Severity.CRITICAL,
        title=f"{key} broke",
        what="x",
        done="y",
        command="z",
        said=said,
    )
    return msgspec.structs.replace(found, **changes)


class Desk:
    """A store, a clock, and what every test here does with them."""

    def __init__(self, database: Database, clock: VirtualClock) -> None:
        self.database = database
        self.clock = clock

    def origin(self, command_id: str = "", actor: str = "test") -> Origin:
        return Origin(at=self.clock.now(), actor=actor, command_id=command_id)

    async def happen(self, *events: Event) -> None:
        def record(tx: Transaction, origin: Origin) -> None:
            with system_journal(tx, ZONE, origin) as journal:
                for event in events:
                    journal.add(event)

        await self.database.write(record, self.origin())

    async def take_in(self) -> bool:
        return await self.database.write(take_in, TERMS, self.origin())

    async def do(self, function: Callable[..., None], subject: Fact | Over) -> None:
        await self.database.write(function, subject, TERMS, self.origin())

    async def see(self, *facts: Fact, over: tuple[Over, ...] = ()) -> None:
        await self.database.write(note_seen, facts, over, TERMS, self.origin())

    async def next(self, channel: str, rank_min: int = 0) -> Message | None:
        """Let a channel take its next message."""
        now = self.clock.now()
        pending = await self.database.write(
            claim,
            channel,
            now=to_us(now),
            until=to_us(now + timedelta(minutes=1)),
            rank_min=rank_min,
        )
        if pending is None:
            return None
        await self.database.write(note_delivered, pending.id, to_us(now))
        return pending.message

    async def told(self, channel: str) -> list[str]:
        """Let a channel take all that waits."""
        found = []
        while (message := await self.next(channel)) is not None:
            found.append(f"{message.kind} {message.title}")
        return found

    async def open(self) -> list[Alert]:
        return await self.database.read(open_alerts)


@pytest.fixture
def desk(database: Database, clock: VirtualClock) -> Desk:
    return Desk(database, clock)


async def test_a_hundred_identical_failures_are_one_alert(desk: Desk) -> None:
    for _ in range(100):
        await desk.happen(FAILED)
        await desk.take_in()
        desk.clock.advance(1)
    assert [(alert.key, alert.count) for alert in await desk.open()] == [("worker_failed:a", 100)]
    assert await desk.told("ops") == ["raised worker a has failed"]


async def test_a_hundred_failures_that_are_read_at_once_are_one_alert_too(desk: Desk) -> None:
    await desk.happen(*[FAILED] * 450)
    is_more = [await desk.take_in() for _ in range(3)]
    assert is_more == [True, True, False]
    assert [alert.count for alert in await desk.open()] == [450]


async def test_no_event_is_read_twice(desk: Desk) -> None:
    await desk.happen(FAILED)
    await desk.take_in()
    await desk.take_in()
    assert [alert.count for alert in await desk.open()] == [1]


async def test_each_channel_is_told_what_is_grave_enough_for_it(desk: Desk) -> None:
    await desk.do(raise_fact, fact("small", severity=Severity.WARNING))
    await desk.do(raise_fact, fact("tiny", severity=Severity.INFO))
    await desk.do(raise_fact, fact("large"))
    assert await desk.told("ops") == ["raised small broke", "raised large broke"]
    assert await desk.told("pager") == ["raised large broke"]


async def test_what_ends_it_closes_it_and_is_told(desk: Desk) -> None:
    await desk.happen(kinds.KillSwitchEngaged(scope="system", why="stop"))
    await desk.happen(kinds.KillSwitchReleased(scope="system", why="go on"))
    await desk.take_in()
    assert await desk.open() == []
    title = "kill switch system is engaged"
    assert await desk.told("ops") == [f"raised {title}", f"resolved {title}"]


async def test_it_may_come_again_as_another_alert(desk: Desk) -> None:
    for _ in range(2):
        await desk.do(raise_fact, fact("x"))
        await desk.do(resolve, Over(key="x", why="mended"))
        desk.clock.advance(1)
    assert await desk.told("ops") == ["raised x broke", "resolved x broke"] * 2


async def test_what_is_told_once_is_not_told_again_and_leaves_nothing_open(desk: Desk) -> None:
    for _ in range(3):
        await desk.do(raise_fact, fact("x", said=Said.ONCE))
        desk.clock.advance(100_000)
    assert await desk.open() == []
    assert await desk.told("ops") == ["raised x broke"]


async def test_what_is_told_once_a_day_is_told_again_on_the_next(desk: Desk) -> None:
    for _ in range(4):
        await desk.do(raise_fact, fact("x", said=Said.ONCE_A_DAY))
        desk.clock.advance(43_200)
    assert await desk.told("ops") == ["raised x broke"] * 2


async def test_reminders_come_at_growing_distances_until_it_is_over(desk: Desk) -> None:
    await desk.do(raise_fact, fact("x"))
    told = []
    for hour in range(16):
        await desk.see()
        told += [(hour, text) for text in await desk.told("ops")]
        desk.clock.advance(HOUR_S)
    assert [hour for hour, _ in told] == [0, 1, 3, 7, 15]
    assert {text for _, text in told[1:]} == {"reminder x broke"}
    await desk.do(resolve, Over(key="x", why="mended"))
    desk.clock.advance(100 * HOUR_S)
    await desk.see()
    assert await desk.told("ops") == ["resolved x broke"]


async def test_a_channel_that_has_not_heard_of_it_is_not_reminded_of_it(desk: Desk) -> None:
    await desk.do(raise_fact, fact("x"))
    for _ in range(9):
        desk.clock.advance(HOUR_S)
        await desk.see()
    assert await desk.told("ops") == ["raised x broke"]


async def test_somebody_who_knows_of_it_is_not_reminded(desk: Desk) -> None:
    await desk.do(raise_fact, fact("x"))
    [alert] = await desk.open()
    command = AcknowledgeCommand(alert=alert.id, why="on it")
    origin = desk.origin("c-1", actor="ada")
    first = await desk.database.write(acknowledge, command, origin, ZONE)
    assert first.by == "ada"
    assert await desk.database.write(acknowledge, command, origin, ZONE) == first
    await desk.told("ops")
    desk.clock.advance(100 * HOUR_S)
    await desk.see()
    assert await desk.told("ops") == []
    assert [one.key for one in await desk.open()] == ["x"]


async def test_the_same_command_for_another_alert_names_the_field(desk: Desk) -> None:
    await desk.do(raise_fact, fact("x"))
    [alert] = await desk.open()
    origin = desk.origin("c-1")
    command = AcknowledgeCommand(alert=alert.id, why="on it")
    await desk.database.write(acknowledge, command, origin, ZONE)
    other = AcknowledgeCommand(alert=alert.id, why="not me")
    with pytest.raises(CommandConflict, match="why"):
        await desk.database.write(acknowledge, other, origin, ZONE)


async def test_an_alert_is_acknowledged_once_and_not_when_it_is_over(desk: Desk) -> None:
    await desk.do(raise_fact, fact("x"))
    [alert] = await desk.open()
    command = AcknowledgeCommand(alert=alert.id, why="")
    await desk.database.write(acknowledge, command, desk.origin("c-1", "ada"), ZONE)
    with pytest.raises(IllegalMove, match="ada"):
        await desk.database.write(acknowledge, command, desk.origin("c-2"), ZONE)
    await desk.do(resolve, Over(key="x", why="mended"))
    with pytest.raises(IllegalMove, match="mended"):
        await desk.database.write(acknowledge, command, desk.origin("c-3"), ZONE)
    gone = AcknowledgeCommand(alert="a-none", why="")
    with pytest.raises(NotFound):
        await desk.database.write(acknowledge, gone, desk.origin("c-4"), ZONE)


async def test_what_is_seen_is_open_while_it_is_seen(desk: Desk) -> None:
    stuck = fact("now:stuck")
    for _ in range(5):
        await desk.see(stuck)
        desk.clock.advance(10)
    assert [(one.key, one.count) for one in await desk.open()] == [("now:stuck", 1)]
    await desk.see()
    assert await desk.open() == []
    assert await desk.told("ops") == ["raised now:stuck broke", "resolved now:stuck broke"]


async def test_what_events_tell_is_not_over_because_it_is_not_seen(desk: Desk) -> None:
    await desk.happen(FAILED)
    await desk.take_in()
    await desk.see()
    assert len(await desk.open()) == 1


async def test_a_message_that_is_being_tried_is_tried_by_nobody_else(desk: Desk) -> None:
    await desk.do(raise_fact, fact("x"))
    now = to_us(desk.clock.now())
    tries = {"now": now, "until": now + 60_000_000, "rank_min": 0}
    first = await desk.database.write(claim, "ops", **tries)
    assert first is not None
    assert await desk.database.write(claim, "ops", **tries) is None
    await desk.database.write(note_failed, first.id, "it is down")
    again = await desk.database.write(claim, "ops", **tries)
    assert again is not None
    assert (again.id, again.attempts) == (first.id, 2)


async def test_one_whose_teller_died_is_told_once_its_claim_is_over(desk: Desk) -> None:
    await desk.do(raise_fact, fact("x"))
    now = to_us(desk.clock.now())
    await desk.database.write(claim, "ops", now=now, until=now + 60_000_000, rank_min=0)
    assert await desk.told("ops") == []
    desk.clock.advance(61)
    assert await desk.told("ops") == ["raised x broke"]


async def test_a_clock_that_goes_back_holds_no_message_up(desk: Desk) -> None:
    await desk.do(raise_fact, fact("x"))
    desk.clock.step_wall(-7_200)
    assert await desk.told("ops") == ["raised x broke"]


async def test_in_quiet_hours_only_what_is_grave_is_told_and_the_rest_later(desk: Desk) -> None:
    await desk.do(raise_fact, fact("small", severity=Severity.WARNING))
    desk.clock.advance(1)
    await desk.do(raise_fact, fact("large"))
    message = await desk.next("ops", Severity.CRITICAL.rank)
    assert message is not None
    assert message.title == "large broke"
    assert await desk.next("ops", Severity.CRITICAL.rank) is None
    assert await desk.told("ops") == ["raised small broke"]


async def test_what_waits_is_counted(desk: Desk) -> None:
    await desk.do(raise_fact, fact("x"))
    assert (await desk.database.read(undelivered)).count == 2
    await desk.told("ops")
    await desk.told("pager")
    assert (await desk.database.read(undelivered)).count == 0


async def test_raising_resolving_and_acknowledging_are_on_record(
    desk: Desk, raw: RawConnection
) -> None:
    await desk.do(raise_fact, fact("x"))
    [alert] = await desk.open()
    command = AcknowledgeCommand(alert=alert.id, why="")
    await desk.database.write(acknowledge, command, desk.origin("c-1"), ZONE)
    await desk.do(resolve, Over(key="x", why="mended"))
    rows = raw.rows("SELECT kind FROM events WHERE kind LIKE 'alert_%' ORDER BY position")
    assert [kind for (kind,) in rows] == ["alert_raised", "alert_acknowledged", "alert_resolved"]


async def test_an_event_that_is_damaged_is_itself_an_alert(desk: Desk, raw: RawConnection) -> None:
    await desk.happen(FAILED)
    raw.drop_rules()
    raw.run("UPDATE events SET payload = '{\"worker\"' WHERE kind = 'worker_failed'")
    await desk.take_in()
    [alert] = await desk.database.read(newest_alerts, 10)
    assert alert.key.startswith("event_damaged:")
    assert "`supervisor audit`" in alert.command


async def test_a_used_up_account_is_over_with_its_period(desk: Desk, raw: RawConnection) -> None:
    resets_at = to_us(desk.clock.now()) + 5_000_000
    raw.run(
        "INSERT INTO accounts (id, scope, period, period_key, unit, limit_amount, settled, held,"
        " opened_at, resets_at) VALUES ('acc', 'system', 'day', 'd', 'micro_usd', 5, 5, 0, 0, ?)",
        resets_at,
    )
    spent = kinds.BudgetExhausted(account="acc", unit="micro_usd", used=5, limit_amount=5)
    await desk.happen(spent, spent)
    await desk.take_in()
    await desk.see()
    assert [alert.count for alert in await desk.open()] == [2]
    desk.clock.advance(6)
    await desk.see()
    assert await desk.open() == []
    assert await desk.told("pager") == ["raised acc is used up", "resolved acc is used up"]
