"""Alerts of the real daemon where the webhook, the daemon or a worker is out of order."""

from __future__ import annotations

import itertools
import shutil
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, wait_until
from tests.e2e.machine_clock import MachineClock
from tests.e2e.ping_receiver import PingReceiver, receiving_pings
from tests.e2e.webhook_receiver import WebhookReceiver, receiving_webhooks

WORKERS = [f"w{number}" for number in range(6)]
FAILURES = 100
#: Which would end the failing after a few, and be what is told.
NO_BREAKERS = {"failures_max": 0, "system_failures_max": 0}


def channel_of(receiver: WebhookReceiver) -> dict[str, object]:
    return {"channel": {"ops": {"kind": "webhook", "url": receiver.url}}}


def has_told(hook: WebhookReceiver, number: int) -> bool:
    return len(hook.messages) >= number


def kill(site: Installation, worker: str) -> None:
    assert site.supervisor("kill", "--worker", worker, "--why", "outage").returncode == 0


def test_a_webhook_that_is_down_gets_each_alert_once_after_it_is_back_whatever_dies_meanwhile(
    on_both: Installation, measure: Measure
) -> None:
    with receiving_webhooks() as hook:
        idle = {"run": "agents:idle", "every_s": 0.5}
        on_both.configure({"alerts": channel_of(hook), "worker": dict.fromkeys(WORKERS, idle)})
        daemon = on_both.start_ready()
        hook.state = "failing"
        down_since = time.monotonic()
        for worker in WORKERS[:3]:
            kill(on_both, worker)
        wait_until(lambda: hook.refused > 2, what="it was tried in vain")
        daemon.kill_9()
        hook.state = "hanging up"
        daemon = on_both.start_ready()
        for worker in WORKERS[3:]:
            kill(on_both, worker)
        undelivered = "supervisor_alerts_undelivered"
        wait_until(lambda: daemon.metric(undelivered) > len(WORKERS), what="the gauge counts them")
        assert hook.messages == []
        down_s = time.monotonic() - down_since
        hook.state = "up"
        wait_until(lambda: daemon.metric(undelivered) == 0, what="all arrived", within_s=90)
        expected = [f"raised kill switch worker:{worker} is engaged" for worker in WORKERS]
        told = [text for text in hook.told() if "kill switch" in text]
        # The one that was being told when the daemon died comes when its claim is over: last.
        assert sorted(told) == expected
        # No tick was running when it died, and that is told all the same.
        assert hook.told().count("raised the daemon had died without a word") == 1
        assert set(hook.keys.values()) == {1}
        assert daemon.stop() == 0
    on_both.check_audit()
    measure("webhook down", f"{down_s:.1f} s, {hook.refused} tries, {len(told)} alerts once each")


def test_a_hundred_identical_failures_are_one_alert_and_its_reminders(
    on_both: Installation, tmp_path: Path, measure: Measure
) -> None:
    clock = MachineClock(tmp_path / "clock")
    clock.set(datetime(2026, 6, 1, 9, 0, tzinfo=UTC))
    with receiving_webhooks() as hook:
        on_both.configure(
            {
                "alerts": {**channel_of(hook), "remind_after_s": 3_600.0},
                "breakers": NO_BREAKERS,
                "worker": {"w": {"run": "agents:fails", "every_s": 0.01}},
            }
        )
        daemon = on_both.start(environment=clock.environment)
        daemon.wait_until_ready()
        wait_until(
            lambda: on_both.outcomes("w").count("failed") >= FAILURES, what="it fails 100 times"
        )
        title = "the ticks of worker w fail"
        for number, wait_s in enumerate((700.0, 3_600.0, 7_200.0), start=1):
            clock.step(wait_s)
            on_both.supervisor("incident", "open", "It looks, then")
            wait_until(partial(has_told, hook, number), what=f"{number} messages", within_s=40)
        assert hook.told() == [f"raised {title}", f"reminder {title}", f"reminder {title}"]
        failures = on_both.outcomes("w").count("failed")
        assert daemon.stop() == 0
    measure("identical failures", f"{failures}, one alert and 2 reminders in 3 h of its clock")


def test_in_quiet_hours_only_the_gravest_is_told_and_the_rest_at_their_end(
    on_both: Installation, tmp_path: Path
) -> None:
    clock = MachineClock(tmp_path / "clock", slice_s=0.05)
    clock.set(datetime(2026, 6, 1, 23, 0, tzinfo=UTC))
    with receiving_webhooks() as hook:
        quiet = {"quiet_hours": "22:00-07:00", "quiet_least": "critical"}
        worker = {"run": "agents:fails", "every_s": 0.1}
        on_both.configure(
            {
                "supervisor": {"timezone": "UTC"},
                "alerts": {**channel_of(hook), **quiet},
                "breakers": NO_BREAKERS,
                "worker": {"w": worker, "v": {"run": "agents:idle", "every_s": 1.0}},
            }
        )
        daemon = on_both.start(environment=clock.environment)
        daemon.wait_until_ready()
        wait_until(lambda: "failed" in on_both.outcomes("w"), what="it fails")
        clock.step(700.0)
        kill(on_both, "v")
        wait_until(lambda: len(hook.messages) == 1, what="the kill is told")
        assert hook.told() == ["raised kill switch worker:v is engaged"]
        undelivered = "supervisor_alerts_undelivered"
        wait_until(lambda: daemon.metric(undelivered) == 1, what="the other one waits")
        clock.set(datetime(2026, 6, 2, 7, 0, tzinfo=UTC))
        assert on_both.supervisor("incident", "open", "It looks, then").returncode == 0
        wait_until(lambda: "raised the ticks of worker w fail" in hook.told(), what="it is told")
        wait_until(lambda: daemon.metric(undelivered) == 0, what="nothing waits any more")
        assert daemon.stop() == 0


def test_the_dead_man_ping_stops_within_one_interval_of_a_stuck_worker(
    on_both: Installation, measure: Measure
) -> None:
    shutil.copy(Path(__file__).with_name("stuck_workers.py"), on_both.folder)
    go_on = on_both.folder / "go-on"
    beat_s = 0.5
    with receiving_pings() as pings:
        on_both.configure(
            {
                "supervisor": {"heartbeat_ping_url": pings.url, "heartbeat_s": beat_s},
                "worker": {
                    "stuck": {
                        "run": "stuck_workers:swallows_until_told",
                        "every_s": 3_600.0,
                        "tick_timeout_s": 1.0,
                        "options": {"go_on": str(go_on)},
                    },
                    "other": {"run": "agents:counts", "every_s": 0.05},
                },
            }
        )
        daemon = on_both.start_ready()
        started = on_both.log_lines("cycle_started") or on_both.log_lines("daemon_started")
        began = datetime.fromisoformat(str(started[0]["ts"]))
        wait_until(lambda: pings.last() == "/fail", what="the ping says no")
        # A tick that ignores its cancellation counts as stuck 10 s after its timeout.
        stuck_at = began + timedelta(seconds=11)
        late_s = (datetime.now(UTC) - stuck_at).total_seconds()
        assert late_s < 2 * beat_s + 1.0
        assert paths(pings) == ["/start", "", "/fail"]
        assert "worker stuck is stuck in tick 1" in pings.failures()[-1]
        count = on_both.outcomes("other").count("ok")
        wait_until(
            lambda: on_both.outcomes("other").count("ok") > count + 5, what="the others go on"
        )
        assert pings.last() == "/fail"
        go_on.touch()
        wait_until(lambda: pings.last() == "", what="it is well again")
        assert daemon.stop() == 0
    measure("dead-man ping", f"/fail {late_s:.2f} s after a worker is stuck, beats of {beat_s} s")


def paths(pings: PingReceiver) -> list[str]:
    """Return what was said, without what was said again."""
    return [path for path, _ in itertools.groupby(path for path, _ in pings.pings)]
