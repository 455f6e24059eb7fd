"""Incidents: opened, noted and closed by name, linked to alerts and drills, exported."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec
import pytest

from supervisor.alerts.facts import Fact, Severity
from supervisor.alerts.incidents import (
    CloseCommand,
    NoteCommand,
    OpenCommand,
    close_incident,
    newest_incidents,
    note_incident,
    open_incident,
    read_dossier,
    render,
)
from supervisor.alerts.record import Terms, open_alerts, raise_fact
from supervisor.clock import VirtualClock
from supervisor.errors import IllegalMove, NotFound, UsageError
from supervisor.events.log import Origin
from supervisor.governance import drills
from supervisor.governance.drills import Drill
from supervisor.storage.database import Database
from tests.databases import RawConnection

ZONE = ZoneInfo("UTC")
FACT = Fact(
    key="k", severity=Severity.CRITICAL, title="the model is gone", what="w", done="d", command="c"
)


class Desk:
    """A person at the command line."""

    def __init__(self, database: Database, clock: VirtualClock) -> None:
        self.database = database
        self.clock = clock
        self._commands = 0

    def origin(self) -> Origin:
        self._commands += 1
        return Origin(at=self.clock.now(), actor="ada", command_id=f"c-{self._commands}")

    async def open(self, title: str = "the model is gone") -> str:
        command = OpenCommand(title=title)
        done = await self.database.write(open_incident, command, self.origin(), ZONE)
        return done.incident

    async def note(self, incident: str, text: str, *, alert: str = "", drill: str = "") -> None:
        command = NoteCommand(incident=incident, text=text, alert=alert, drill=drill)
        await self.database.write(note_incident, command, self.origin(), ZONE)

    async def close(self, incident: str, why: str = "the vendor mended it") -> None:
        command = CloseCommand(incident=incident, why=why)
        await self.database.write(close_incident, command, self.origin(), ZONE)

    async def text(self, incident: str) -> str:
        return render(await self.database.read(read_dossier, incident))


@pytest.fixture
def desk(database: Database, clock: VirtualClock) -> Desk:
    return Desk(database, clock)


async def test_an_incident_is_exported_with_its_notes_alerts_and_drills(desk: Desk) -> None:
    terms = Terms(routes=(), remind_after_s=60, timezone=ZONE)
    await desk.database.write(raise_fact, FACT, terms, desk.origin())
    [alert] = await desk.database.read(open_alerts)
    asked = msgspec.structs.replace(desk.origin(), command_id="d-1")
    await desk.database.write(drills.begin, Drill.KILL, asked, ZONE)
    incident = await desk.open()
    await desk.note(incident, "saw the alert", alert=alert.id)
    await desk.note(incident, "held a drill", drill="d-1")
    desk.clock.advance(600)
    await desk.close(incident)
    text = await desk.text(incident)
    assert text.startswith("# the model is gone\n")
    assert "after 10 min" in text
    assert "the vendor mended it" in text
    assert "ada: saw the alert\n  - alert " in text
    assert "drill kill (d-1)" in text


async def test_what_was_written_down_is_on_record(desk: Desk, raw: RawConnection) -> None:
    incident = await desk.open()
    await desk.note(incident, "x")
    await desk.close(incident)
    rows = raw.rows("SELECT kind FROM events WHERE kind LIKE 'incident%' ORDER BY position")
    assert [kind for (kind,) in rows] == ["incident_opened", "incident_noted", "incident_closed"]


async def test_a_closed_one_takes_no_note_and_is_not_closed_again(desk: Desk) -> None:
    incident = await desk.open()
    await desk.close(incident)
    with pytest.raises(IllegalMove, match="ada"):
        await desk.note(incident, "too late")
    with pytest.raises(IllegalMove, match="ada"):
        await desk.close(incident)


async def test_what_it_is_about_has_to_be_there(desk: Desk) -> None:
    incident = await desk.open()
    for words in ({"alert": "a-none"}, {"drill": "d-none"}):
        with pytest.raises(NotFound):
            await desk.note(incident, "x", **words)
    with pytest.raises(NotFound):
        await desk.note("i-none", "x")
    assert "What was found" not in await desk.text(incident)


@pytest.mark.parametrize("text", ["", "  ", "x" * 10_001])
async def test_a_text_that_says_nothing_or_too_much_is_refused(desk: Desk, text: str) -> None:
    incident = await desk.open()
    with pytest.raises(UsageError):
        await desk.note(incident, text)


async def test_those_that_are_open_are_listed_the_newest_first(desk: Desk) -> None:
    incidents = []
    for number in range(3):
        incidents.append(await desk.open(f"number {number}"))
        desk.clock.advance(1)
    await desk.close(incidents[1])
    listed = await desk.database.read(newest_incidents, 10, is_all=False)
    assert [one.id for one in listed] == [incidents[2], incidents[0]]
    assert len(await desk.database.read(newest_incidents, 10, is_all=True)) == 3
