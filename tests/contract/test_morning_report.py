"""The morning report: honest about a failed night, once a morning, with what waits on top."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from supervisor.alerts.facts import Severity
from supervisor.alerts.morning import Morning, read_morning, render
from supervisor.alerts.record import Route, Terms, newest_alerts
from supervisor.clock import VirtualClock
from supervisor.config import load
from supervisor.events.log import Origin
from supervisor.governance.kill_switch import KillCommand, engage
from supervisor.outcome import Outcome
from supervisor.providers.scripted import Step
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from supervisor.worker.morning_report import MorningReport
from supervisor.worker.tick import run_tick
from tests.contract.policy_bench import SURE, UTC_ZONE, PolicyBench
from tests.contract.site import Site
from tests.databases import RawConnection

CONFIG = """
[supervisor]
database = "{url}"
[spend]
daily_cap_usd = 1.0
[report]
at = "0 7 * * *"
"""


class Night:
    """A store, ticks in it, and the report of it."""

    def __init__(self, database: Database, clock: VirtualClock, folder: Path) -> None:
        self.bench = PolicyBench(database, clock, folder)
        self.database = database
        self.clock = clock

    async def tick(self, outcome: Outcome, *, worker: str = "w") -> None:
        async def run(_: Context) -> Outcome:
            return outcome

        await run_tick(self.bench.kernel, await self.bench.plan(run, name=worker))

    async def morning(self, hours: float = 24) -> Morning:
        now = self.clock.now()
        since = now - timedelta(hours=hours)
        return await self.database.read(read_morning, self.bench.kernel.policy.budgets, since, now)


@pytest.fixture
def night(database: Database, clock: VirtualClock, tmp_path: Path) -> Night:
    return Night(database, clock, tmp_path)


async def test_a_night_in_which_nothing_ran_says_so(night: Night) -> None:
    morning = await night.morning()
    assert morning.verdict == "Nothing ran."
    assert "What failed" not in render(morning)


async def test_a_good_night_is_told_in_a_line_and_by_worker(night: Night) -> None:
    for worker in ("a", "b"):
        await night.tick(Outcome.OK, worker=worker)
    morning = await night.morning()
    assert morning.verdict == "2 ticks went as planned, none failed."
    assert "| a | 1 ok |" in render(morning)


async def test_a_failed_night_is_not_told_as_a_good_one(night: Night) -> None:
    async def fail(_: Context) -> None:
        raise ConnectionError("the model is gone")

    await night.tick(Outcome.OK)
    for _ in range(3):
        with pytest.raises(Exception, match=r"."):
            await run_tick(night.bench.kernel, await night.bench.plan(fail))
    morning = await night.morning()
    assert morning.verdict == "Not all went well: 3 of 4 ticks failed."
    assert "3 times: the model is gone" in render(morning)


async def test_why_a_worker_says_it_failed_is_told(night: Night) -> None:
    async def fail(ctx: Context) -> Outcome:
        return ctx.failed("the feed answers 404")

    await run_tick(night.bench.kernel, await night.bench.plan(fail))
    assert "once: the feed answers 404" in render(await night.morning())


async def test_that_other_models_answered_than_were_meant_is_told(night: Night) -> None:
    night.bench.script(Step(does="server_error"), Step())

    async def ask(ctx: Context) -> None:
        await ctx.model.complete("hi")

    plan = replace(await night.bench.plan(ask), fallback=("p/other",))
    await run_tick(night.bench.kernel, plan)
    text = render(await night.morning())
    assert "1 tick went as planned, none failed." in text
    assert "Another model was asked than was meant, once: `supervisor events" in text


async def test_what_was_before_the_span_is_not_in_it(night: Night) -> None:
    await night.tick(Outcome.OK)
    night.clock.advance(3_600)
    await night.tick(Outcome.OK)
    assert (await night.morning(hours=0.5)).ticks == 1


async def test_what_waits_for_a_person_stands_above_what_ran(night: Night) -> None:
    async def ask(ctx: Context) -> None:
        await ctx.propose("merge", **SURE)

    await night.bench.tick(ask)
    kill = KillCommand(scope="worker:w", why="it writes nonsense")
    origin = Origin(at=night.clock.now(), actor="ada", command_id="k")
    await night.database.write(engage, kill, origin, UTC_ZONE)
    text = render(await night.morning())
    assert text.startswith("**Killed: a kill switch is engaged")
    assert "kill of worker:w: it writes nonsense; `supervisor release`" in text
    assert "w wants merge" in text
    assert text.index("What waits for you") < text.index("What ran")


async def test_an_event_that_can_not_be_read_is_no_good_night(
    night: Night, raw: RawConnection
) -> None:
    await night.tick(Outcome.OK)
    raw.drop_rules()
    raw.run("UPDATE events SET payload = '{' WHERE kind = 'cycle_started'")
    morning = await night.morning()
    assert morning.verdict.startswith("Not all went well")
    assert "`supervisor audit`" in render(morning)


async def test_the_daemon_writes_one_each_morning_and_tells_who_wants_it(
    night: Night, site: Site, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(url=site.url))
    loaded = load(path, {})
    route = Route(channel="phone", least=Severity.INFO)
    terms = Terms(routes=(route,), remind_after_s=3_600, timezone=UTC_ZONE)
    report = MorningReport(night.bench.kernel, lambda: loaded, lambda: terms)
    await report.look()
    await night.tick(Outcome.OK)
    folder = tmp_path / "reports"
    for _ in range(2 * 24 * 6):
        night.clock.advance(600)
        await report.look()
    found = sorted(file.name for file in folder.glob("morning-*.md"))
    assert found == ["morning-2026-06-02.md", "morning-2026-06-03.md"]
    first, second = (folder / name for name in found)
    assert "1 tick went as planned, none failed." in first.read_text()
    assert "Nothing ran." in second.read_text()
    alerts = await night.database.read(newest_alerts, 10)
    assert [one.key for one in alerts] == ["morning:2026-06-03", "morning:2026-06-02"]


async def test_one_that_was_due_while_nobody_ran_is_written_at_the_start(
    night: Night, site: Site, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(url=site.url))
    loaded = load(path, {})
    terms = Terms(routes=(), remind_after_s=3_600, timezone=UTC_ZONE)
    await MorningReport(night.bench.kernel, lambda: loaded, lambda: terms).look()
    night.clock.advance(40 * 3_600)
    await MorningReport(night.bench.kernel, lambda: loaded, lambda: terms).look()
    assert [file.name for file in (tmp_path / "reports").glob("*.md")] == ["morning-2026-06-03.md"]


def test_text_of_others_is_no_markup() -> None:
    empty = msgspec.convert(
        {
            "since": "a",
            "until": "b",
            "workers": [],
            "starts": 0,
            "deaths": 0,
            "spent_today": 0,
            "cap_today": 0,
            "alerts": [],
            "tickets": [],
            "kills": [],
            "damaged": 0,
            "paused": ["session <script>|x"],
        },
        Morning,
    )
    assert "<script>" not in render(empty)
