"""`events` lists all that match, reads past damage, and follows what comes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from supervisor.cli import event_pages
from supervisor.clock import SystemClock
from tests.unit.cli.site import Called, Site
from tests.unit.governance.recorded_life import Damage

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def damage(lived: Site) -> Iterator[Damage]:
    damage = Damage(lived.store)
    yield damage
    damage.close()


def lines(called: Called) -> list[dict[str, object]]:
    return [json.loads(line) for line in called.out.splitlines()]


def test_all_events_are_listed_in_order(lived: Site) -> None:
    called = lived.call("events", "--json")
    assert (called.code, called.err) == (0, "")
    events = lines(called)
    assert events[0]["kind"] == "session_opened"
    positions = [event["position"] for event in events]
    assert positions == sorted(positions, key=lambda position: int(str(position)))
    assert len(events) > 12


def test_text_tells_every_event_within_100_columns(lived: Site) -> None:
    called = lived.call("events")
    assert called.code == 0
    assert "cost=0.0015USD" in called.out
    assert max(map(len, called.out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (["--kind", "hold_settled"], ["hold_settled", "hold_settled"]),
        (["--worker", "digest", "--kind", "hold_settled"], ["hold_settled"]),
        (["--correlation", "digest#1"], ["cycle_started"]),
        (["--worker", "digest", "--kind", "kill_engaged"], []),
        (["--worker", "system", "--kind", "kill_engaged"], []),
        (["--since", "2099-01-01T00:00Z"], []),
        (["--kind", "hold_settled", "--since", "1h"], ["hold_settled", "hold_settled"]),
        (["--kind", "hold_settled", "--since", "2026-01-01"], ["hold_settled", "hold_settled"]),
        (["--kind", "hold_settled", "--limit", "1"], ["hold_settled"]),
    ],
)
def test_filters_let_through_what_matches_all_of_them(
    lived: Site, words: list[str], kinds: list[str]
) -> None:
    events = lines(lived.call("events", "--json", *words))
    assert [event["kind"] for event in events] == kinds


def test_session_filter_gives_its_whole_sequence(lived: Site) -> None:
    (first, *_) = lines(lived.call("events", "--worker", "triage", "--json"))
    events = lines(lived.call("events", "--session", str(first["session_id"]), "--json"))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_limit_gives_the_newest_the_oldest_first(lived: Site) -> None:
    every = lines(lived.call("events", "--json"))
    assert lines(lived.call("events", "--json", "--limit", "3")) == every[-3:]


def test_moment_without_an_offset_is_in_the_timezone_of_the_config(lived: Site) -> None:
    lived.edit_config('state_dir = "var"', 'state_dir = "var"\ntimezone = "Asia/Tokyo"')
    hour_ago = SystemClock().now() - timedelta(hours=1)
    in_utc = hour_ago.strftime("%Y-%m-%dT%H:%M:%S")
    in_tokyo = (hour_ago + timedelta(hours=9)).strftime("%Y-%m-%dT%H:%M:%S")
    assert lines(lived.call("events", "--json", "--since", in_tokyo))
    # Nine hours before that in Tokyo's time: all of it is later.
    assert lines(lived.call("events", "--json", "--since", in_utc))
    later = (hour_ago + timedelta(hours=11)).strftime("%Y-%m-%dT%H:%M:%S")
    assert not lines(lived.call("events", "--json", "--since", later))


def test_pages_end_where_the_events_do(lived: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    every = lived.call("events", "--json").out
    for page_rows in (1, 3, len(every.splitlines())):
        monkeypatch.setattr(event_pages, "PAGE_ROWS", page_rows)
        assert lived.call("events", "--json").out == every


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--kind", "hold_setled"], "did you mean 'hold_settled'?"),
        (["--since", "yesterday"], "is neither a span nor a moment; write 2h, 30m, 3d"),
        (["--since", "999999w"], "is neither a span nor a moment"),
        (["--limit", "-1"], "'-1' is not a whole number"),
    ],
)
def test_filter_that_is_no_filter_exits_64(lived: Site, words: list[str], told: str) -> None:
    called = lived.call("events", *words)
    assert called.code == 64
    assert told in called.err


@pytest.mark.parametrize("page_rows", [1, 4, 500])
@pytest.mark.parametrize("change", ["payload = x'ff00'", "payload = CAST(x'22ff22' AS TEXT)"])
def test_event_that_can_not_be_read_is_named_and_passed_over(
    lived: Site, damage: Damage, monkeypatch: pytest.MonkeyPatch, change: str, page_rows: int
) -> None:
    monkeypatch.setattr(event_pages, "PAGE_ROWS", page_rows)
    whole = lines(lived.call("events", "--json"))
    damage.run(f"UPDATE events SET {change} WHERE position = 5")  # noqa: S608 - a test's own text
    called = lived.call("events", "--json")
    assert called.code == 1
    assert "1 events can't be read; `supervisor audit` tells more" in called.err
    events = lines(called)
    assert [event["position"] for event in events] == [event["position"] for event in whole]
    (bad,) = [event for event in events if "damaged" in event]
    assert bad["position"] == 5


def test_payload_that_is_no_json_is_shown_as_it_is(lived: Site, damage: Damage) -> None:
    damage.run("UPDATE events SET payload = '{\"worker\":' WHERE position = 5")
    (bad,) = [event for event in lines(lived.call("events", "--json")) if "damaged" in event]
    assert (bad["damaged"], bad["payload"]) == ('{"worker":', None)
    assert '(damaged payload) {"worker":' in lived.call("events").out


def test_text_of_an_agent_can_not_play_with_the_terminal(lived: Site, damage: Damage) -> None:
    damage.run("UPDATE events SET actor = 'x' || char(27) || '[2J' WHERE position = 5")
    out = lived.call("events").out
    assert "\x1b" not in out
    assert "x\\x1b[2J" in out


def test_follow_goes_on_with_what_comes_and_ends_quietly(lived: Site) -> None:
    words = ["--config", str(lived.config), "events", "--follow", "--json", "--limit", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
        assert lived.call("kill", "--system", "--why", "a test").code == 0
        second = json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert second["position"] == first["position"] + 1
    assert second["kind"] == "kill_switch_engaged"
    assert (process.returncode, err) == (130, "")


@pytest.mark.parametrize("more", [[], ["--follow"], ["--limit", "3"], ["--kind", "hold_settled"]])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--worker", "digets"], "worker digets: is neither in the config nor in the store"),
        (["--session", "digest@2020"], "session digest@2020: does not exist"),
    ],
)
def test_a_name_that_nothing_has_is_no_empty_answer(
    lived: Site, words: list[str], told: str, more: list[str]
) -> None:
    called = lived.call("events", *words, *more)
    assert (called.code, called.out) == (64, "")
    assert f"error[not_found]: {told}" in called.err
