"""A worker that is broken is given up on, in the open; the others go on."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.daemon_process import Installation, RunningDaemon, installed, wait_until

RESTARTS_MAX = 3


@pytest.fixture(scope="module")
def broken(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Installation, RunningDaemon]]:
    """A running daemon of which one worker raises in each tick until it is given up on."""
    with installed(tmp_path_factory.mktemp("broken") / "site") as site:
        site.configure(
            {
                "supervisor": {
                    "restarts_max": RESTARTS_MAX,
                    "restart_window_s": 60.0,
                    "restart_delay_s": 0.02,
                    "heartbeat_s": 0.2,
                },
                "worker": {
                    "bad": {"run": "agents:raises", "every_s": 0.01},
                    "good": {"run": "agents:counts", "every_s": 0.05},
                },
            }
        )
        daemon = site.start_ready()
        wait_until(lambda: site.events("worker_failed"), what="the worker is given up on")
        yield site, daemon


def test_worker_is_failed_after_as_many_restarts_as_are_allowed(
    broken: tuple[Installation, RunningDaemon],
) -> None:
    site, _ = broken
    assert len(site.events("worker_crashed")) == RESTARTS_MAX
    assert site.outcomes("bad") == ["failed"] * (RESTARTS_MAX + 1)
    ((life, why),) = site.rows("SELECT life, why FROM workers WHERE name = 'bad'")
    assert life == "failed"
    assert "a bug of this worker" in str(why)


def test_restarts_come_more_slowly_each_time(broken: tuple[Installation, RunningDaemon]) -> None:
    site, _ = broken
    delays_s = [event["restart_in_s"] for event in site.events("worker_crashed")]
    # A step is four times the one before, its jitter at most a half of it.
    assert delays_s == sorted(delays_s, key=lambda delay_s: float(str(delay_s)))
    ends = site.rows("SELECT ended_at FROM ticks WHERE worker = 'bad' ORDER BY number")
    starts = site.rows("SELECT started_at FROM ticks WHERE worker = 'bad' ORDER BY number")
    for (end,), (start,), delay_s in zip(ends, starts[1:], delays_s, strict=False):
        assert isinstance(end, int)
        assert isinstance(start, int)
        assert isinstance(delay_s, float)
        assert start - end >= delay_s * 1_000_000


def test_other_worker_goes_on(broken: tuple[Installation, RunningDaemon]) -> None:
    site, daemon = broken
    before = len(site.outcomes("good"))
    wait_until(lambda: len(site.outcomes("good")) > before + 5, what="the good one ticks on")
    assert set(site.outcomes("good")) <= {"ok", None}
    assert daemon.is_ready()


def test_failure_is_seen_in_metrics_status_log_and_heartbeat(
    broken: tuple[Installation, RunningDaemon],
) -> None:
    site, daemon = broken
    assert daemon.metric("supervisor_worker_state", worker="bad", state="failed") == 1
    assert daemon.metric("supervisor_worker_state", worker="good", state="running") == 1
    assert daemon.metric("supervisor_worker_restarts_total", worker="bad") == RESTARTS_MAX
    assert daemon.metric("supervisor_ticks_total", worker="bad", outcome="failed") == 4
    (line,) = site.log_lines("worker_failed")
    assert line["level"] == "error"
    status = site.supervisor("--json", "status")
    assert status.returncode == 1, status.stderr
    workers = {worker["name"]: worker for worker in json.loads(status.stdout)["workers"]}
    assert workers["bad"]["life"] == "failed"
    assert workers["good"]["life"] == "running"
    wait_until(lambda: site.heartbeat()["state"] == "degraded", what="the heartbeat says so")


def test_log_of_a_crash_has_its_traceback(broken: tuple[Installation, RunningDaemon]) -> None:
    site, _ = broken
    line = site.log_lines("crashed")[0]
    assert "ZeroDivisionError" in str(line["exception"])
    assert "agents.py" in str(line["exception"])


def test_failed_worker_starts_again_with_the_daemon(
    broken: tuple[Installation, RunningDaemon],
) -> None:
    site, daemon = broken
    assert daemon.stop() == 0
    ticks = len(site.outcomes("bad"))
    again = site.start_ready()
    wait_until(lambda: len(site.outcomes("bad")) > ticks, what="the bad one is tried again")
    assert again.stop() == 0


@pytest.mark.parametrize(
    "function",
    [
        "awaits_cancelled_task",
        "exits",
        "raises_half_a_character",
        "raises_the_unspeakable",
        "hands_over_half_a_character",
        "logs_half_a_character",
    ],
)
def test_nothing_that_a_worker_does_ends_its_loop_or_another(
    installation: Installation, function: str
) -> None:
    installation.configure(
        {
            "supervisor": {"restart_delay_s": 0.01, "restart_delay_max_s": 0.02},
            "worker": {
                "odd": {"run": f"agents:{function}", "every_s": 0.05},
                "good": {"run": "agents:counts", "every_s": 0.05},
            },
        }
    )
    daemon = installation.start_ready()
    wait_until(
        lambda: len([end for end in installation.outcomes("odd") if end is not None]) > 2,
        what="the odd one is tried again and again, each time to a recorded end",
        within_s=5,
    )
    good = len(installation.outcomes("good"))
    wait_until(lambda: len(installation.outcomes("good")) > good + 3, what="the other goes on")
    assert daemon.is_ready()
    assert daemon.stop() == 0
    assert "cancelled" not in installation.outcomes("odd")
    installation.check_audit()


@pytest.mark.parametrize("name", ["http", "heartbeat", "kill-watch", "memory", "telemetry"])
def test_worker_may_have_the_name_of_a_part_of_the_daemon(
    installation: Installation, name: str
) -> None:
    counts = {"run": "agents:counts", "every_s": 0.05}
    installation.configure({"worker": {name: counts, "kept": counts}})
    daemon = installation.start_ready()
    wait_until(lambda: installation.outcomes(name), what="it ticks")
    installation.configure({"worker": {"kept": counts}})
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: installation.log_lines("reloaded"), what="it is gone")
    first = installation.heartbeat()["at"]
    wait_until(lambda: installation.heartbeat()["at"] != first, what="it beats on", within_s=5)
    assert daemon.is_ready()
    (installation.state_dir / "STOP").touch()
    assert daemon.wait(5) == 0


def test_worker_that_blocks_the_loop_is_seen_in_metric_log_and_record(
    installation: Installation,
) -> None:
    installation.configure(
        {
            "worker": {
                "blocks": {
                    "run": "agents:blocks_once",
                    "every_s": 3600.0,
                    "options": {"seconds": 3},
                },
                "good": {"run": "agents:counts", "every_s": 0.05},
            }
        }
    )
    daemon = installation.start()
    wait_until(lambda: installation.log_lines("loop_was_blocked"), what="the block is logged")
    (line,) = installation.log_lines("loop_was_blocked")
    # The whole of it, wherever in a second it began.
    assert 2.99 < float(str(line["lag_s"])) < 10
    assert line["worker"] == "blocks"
    wait_until(lambda: installation.events("loop_blocked"), what="the block is on record")
    assert daemon.metric("supervisor_loop_lag_seconds") > 2.99
    assert daemon.stop() == 0
