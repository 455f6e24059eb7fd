"""`scorecard` shows windows, their figures, and how they compare."""

from __future__ import annotations

import json
import sqlite3

import pytest

from supervisor.clock import SystemClock
from tests.unit.cli.site import Site
from tests.unit.governance.recorded_life import RecordedLife, live_a_day


async def three_days(life: RecordedLife) -> None:
    """Two ticks today, two days on a worker that is killed, and one tick at the end."""
    # Back, as the command line looks from the present.
    life.clock.advance(-3 * 86_400.0)
    await life.start("digest", "triage")
    await life.tick("digest", 1_500)
    await life.tick("triage", 250_000)
    life.clock.advance(86_400)
    await life.tick("digest", 3_000)


def test_windows_are_listed_and_the_newest_is_told_in_full(site: Site) -> None:
    site.live(three_days)
    called = site.call("scorecard", "--last", "10")
    assert (called.code, called.err) == (0, "")
    lines = called.out.splitlines()
    assert lines[0].split()[:4] == ["DAY", "TICKS", "BAD", "APPROVED"]
    assert lines[1].split()[1:] == ["2", "0", "0", "0", "0", "0", "0", "0.2515"]
    assert "ticks: none" in called.out
    assert "until now" in called.out
    assert max(map(len, lines)) <= 100


def test_json_has_each_windows_figures_and_its_trend(site: Site) -> None:
    site.live(three_days)
    answer = json.loads(site.call("scorecard", "--last", "10", "--json").out)
    first, second = answer["windows"][:2]
    assert first["cost_micro_usd"] == 251_500
    assert first["trend"] == {}
    assert second["trend"]["ticks"]["change"] == -0.5
    assert (answer["damaged"], answer["damaged_total"], answer["is_complete"]) == ([], 0, True)


def test_sessions_have_a_line_each_and_that_there_are_more_is_said(site: Site) -> None:
    # The story is of one day, whatever the time is.
    site.live(live_a_day, at=SystemClock().now().replace(hour=0))
    every = site.call("scorecard", "--by", "session", "--last", "50")
    assert every.err == ""
    assert "digest@" in every.out
    assert "system@" not in every.out
    some = site.call("scorecard", "--by", "session", "--last", "2")
    assert "the newest 2; --last N shows more" in some.out


def test_that_there_are_older_days_is_said(site: Site) -> None:
    site.live(three_days)
    assert "the newest 2; --last N shows more" in site.call("scorecard", "--last", "2").out
    assert json.loads(site.call("scorecard", "--last", "2", "--json").out)["is_complete"] is False
    assert "shows more" not in site.call("scorecard", "--last", "4").out
    assert "the newest 1; --last N" in site.call("value", "--by", "day", "--last", "1").out


def test_a_horizon_is_what_was_asked_for(lived: Site) -> None:
    answer = json.loads(
        lived.call("scorecard", "--by", "horizon", "--horizon", "week", "--json").out
    )
    assert answer["horizon"] == "week"
    assert "-W" in answer["windows"][-1]["key"]
    assert sum(window["cost_micro_usd"] for window in answer["windows"]) == 251_500


def test_a_store_without_a_session_has_nothing_to_tell(site: Site) -> None:
    async def nothing(_: RecordedLife) -> None:
        return

    site.live(nothing)
    assert site.call("scorecard", "--by", "session").out == "no session yet\n"
    assert site.call("scorecard").code == 0


def test_a_damaged_event_is_named_and_ends_with_1(lived: Site) -> None:
    store = sqlite3.connect(lived.store, isolation_level=None)
    store.execute("DROP TRIGGER events_append_only_update")
    store.execute("UPDATE events SET payload = 'x' WHERE kind = 'hold_settled'")
    store.close()
    called = lived.call("scorecard")
    assert called.code == 1
    assert "warning: event at position" in called.err
    assert "2 events can't be read and are not counted; `supervisor audit` tells more" in called.err
    assert "2 ok" in called.out
    assert lived.call("scorecard", "--json").json(dict[str, object])["damaged_total"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--worker", "digets"), "did you mean 'digest'?"),
        (("--horizon", "week"), "add --by horizon"),
        (("--last", "1000000"), "give 1 to 10000"),
        (("--by", "hour"), "invalid choice"),
        (("--las", "3"), "did you mean '--last'?"),
    ],
)
def test_what_is_mistyped_is_refused_with_the_cure(
    lived: Site, words: tuple[str, ...], said: str
) -> None:
    called = lived.call("scorecard", *words)
    assert called.code == 64
    assert said in called.err
