"""A worker that hangs in silence is ended by the daemon, said everywhere, and ticks again."""

from __future__ import annotations

from tests.e2e.daemon_process import Installation, wait_until

HANGS = {"run": "agents:hangs", "every_s": 0.05, "tick_timeout_s": 3600}


def test_stuck_tick_is_cancelled_counted_and_told(installation: Installation) -> None:
    installation.configure(
        {
            "supervisor": {"stuck_after_s": 0.5},
            "worker": {"silent": HANGS, "other": {"run": "agents:counts", "every_s": 0.05}},
        }
    )
    daemon = installation.start_ready()
    wait_until(lambda: len(installation.events("session_stuck")) > 1, what="it is found again")
    assert daemon.metric("supervisor_recoveries_total", finding="stuck") >= 1
    stuck = installation.events("session_stuck")
    assert {event["worker"] for event in stuck} == {"silent"}
    assert all(0.5 <= float(str(event["idle_s"])) < 5.0 for event in stuck)
    assert installation.outcomes("silent")[0] == "timed_out"
    assert set(installation.outcomes("other")) <= {"ok", None}
    (told, *_) = installation.log_lines("session_stuck")
    assert told["level"] == "error"
    assert daemon.stop() == 0
    installation.check_audit()
