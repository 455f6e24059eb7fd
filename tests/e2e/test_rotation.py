"""Windows of 2 s under load, with kill -9 at their boundaries."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest

from tests.e2e.daemon_process import Installation, RunningDaemon, installed, wait_until

WINDOW_S = 2
RUN_S = 60.0 if os.environ.get("SUPERVISOR_LONG") else 24.0
#: Where in a window the daemon is killed, in seconds from its boundary.
MOMENTS_S = (-0.02, 0.0, 0.005, 0.01, 0.02, 0.05, -0.005, 1.0)
_US = 1_000_000


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A store after many short windows and several crashes, its daemon stopped."""
    with installed(tmp_path_factory.mktemp("rotated") / "site") as site:
        configure(site)
        daemon = run_with_crashes(site)
        assert daemon.stop() == 0
        yield site


def configure(site: Installation) -> None:
    site.configure(
        {
            "session": {"window": f"{WINDOW_S}s"},
            "spend": {"daily_cap_usd": 1000.0},
            "providers": {"paid": scripted()},
            "worker": {
                "pays": {"run": "agents:calls_once", "model": "paid/model", "every_s": 0.01},
                "counts": {"run": "agents:counts", "every_s": 0.01},
            },
        }
    )


def scripted() -> dict[str, object]:
    steps = [{"latency_s": 0.003, "output_tokens": 50}, {"does": "no_usage"}]
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
    return {"kind": "scripted", "price": price, "script": {"steps": steps, "then": "cycle"}}


def run_with_crashes(site: Installation) -> RunningDaemon:
    """Kill the daemon at each of the moments, and leave the last one running."""
    ends_s = time.monotonic() + RUN_S
    daemon = site.start_ready()
    moments = iter(MOMENTS_S)
    while time.monotonic() < ends_s:
        moment_s = next(moments, None)
        if moment_s is None:
            time.sleep(max(ends_s - time.monotonic(), 0.0))
            break
        sleep_until_boundary(moment_s)
        daemon.kill_9()
        daemon = site.start_ready()
    before = len(site.outcomes("pays"))
    wait_until(lambda: len(site.outcomes("pays")) > before + 20, what="it ticks on")
    return daemon


def sleep_until_boundary(moment_s: float) -> None:
    """Sleep until that long after the next window's start but one."""
    now_s = time.time()
    boundary_s = (now_s // WINDOW_S + 2) * WINDOW_S
    time.sleep(boundary_s + moment_s - now_s)


def test_no_tick_is_lost(rotated: Installation) -> None:
    query = "SELECT min(number), max(number), count(*) FROM ticks GROUP BY worker"
    for first, last, count in rotated.rows(query):
        assert (first, last) == (1, count)
    assert rotated.rows("SELECT * FROM ticks WHERE outcome IS NULL") == []
    query = "SELECT name, last_tick FROM workers ORDER BY name"
    counted = "SELECT worker, count(*) FROM ticks GROUP BY worker ORDER BY worker"
    assert rotated.rows(query) == rotated.rows(counted)


def test_every_crash_is_on_record(rotated: Installation) -> None:
    lives = rotated.number("SELECT count(*) FROM daemons")
    assert lives >= 7
    recovered = rotated.number("SELECT count(*) FROM ticks WHERE outcome = 'recovered'")
    assert recovered == len(rotated.events("cycle_recovered"))
    assert recovered <= 2 * (lives - 1)


def test_no_tick_is_in_two_sessions(rotated: Installation) -> None:
    query = (
        "SELECT correlation_id FROM events WHERE correlation_id LIKE '%#%'"
        " GROUP BY correlation_id HAVING count(DISTINCT session_id) > 1"
    )
    assert rotated.rows(query) == []
    query = (
        "SELECT count(*) FROM ticks JOIN sessions ON sessions.id = ticks.session_id"
        " WHERE started_at < window_start OR started_at >= window_end"
    )
    assert rotated.number(query) == 0


def test_each_window_in_which_a_worker_ticked_has_exactly_one_session(
    rotated: Installation,
) -> None:
    query = (
        "SELECT worker, window_start, window_end FROM sessions WHERE worker <> 'system'"
        " ORDER BY worker, window_start"
    )
    sessions = rotated.rows(query)
    assert len(sessions) == len({(worker, start) for worker, start, _ in sessions})
    for _, start, end in sessions:
        assert isinstance(start, int)
        assert start % (WINDOW_S * _US) == 0
        assert end == start + WINDOW_S * _US
    started = "SELECT count(DISTINCT worker || '@' || (started_at / ?)) FROM ticks"
    assert rotated.number(started, WINDOW_S * _US) == len(sessions)


def test_each_summary_equals_its_ticks_and_its_holds(rotated: Installation) -> None:
    sealed = rotated.rows("SELECT id, summary, last_seq FROM sessions WHERE summary IS NOT NULL")
    assert len(sealed) > 2 * (RUN_S / WINDOW_S) * 0.5
    for session, text, last_seq in sealed:
        summary = json.loads(str(text))
        counters = summary["counters"]
        assert counters.get("ticks", {}) == ticks_by_outcome(rotated, session)
        assert counters.get("cost", 0) == rotated.number(
            "SELECT sum(cost_settled) FROM holds WHERE session_id = ?", session
        )
        assert (summary["first_seq"], summary["last_seq"]) == (1, last_seq)
        count = "SELECT count(*) FROM events WHERE session_id = ?"
        assert rotated.number(count, session) == last_seq


def ticks_by_outcome(site: Installation, session: object) -> dict[str, object]:
    query = "SELECT outcome, count(*) FROM ticks WHERE session_id = ? GROUP BY outcome"
    return {str(outcome): count for outcome, count in site.rows(query, session)}


def test_state_survived_with_the_ticks_that_committed_it(rotated: Installation) -> None:
    ((state,),) = rotated.rows("SELECT state FROM workers WHERE name = 'counts'")
    ok = "SELECT count(*) FROM ticks WHERE worker = 'counts' AND outcome = 'ok'"
    assert json.loads(str(state)) == {"count": rotated.number(ok)}


def test_the_record_proves_itself(rotated: Installation) -> None:
    rotated.check_audit()
    sessions = rotated.supervisor("--json", "sessions")
    assert sessions.returncode == 0, sessions.stderr


def test_audit_beside_a_daemon_at_work_finds_nothing(installation: Installation) -> None:
    configure(installation)
    daemon = installation.start_ready()
    for _ in range(3):
        audited = installation.supervisor("audit")
        assert audited.returncode == 0, audited.stdout + audited.stderr
    assert daemon.stop() == 0
    installation.check_audit()
