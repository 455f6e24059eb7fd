"""An open breaker stays open through kill -9 and a restart, until it is closed by its name."""

from __future__ import annotations

import json

from tests.e2e.daemon_process import Installation, wait_until

FAILURES_MAX = 3


def test_a_breaker_is_open_after_kill_9_and_closed_by_its_name(installation: Installation) -> None:
    installation.configure(
        {
            "breakers": {"failures_max": FAILURES_MAX, "cooldown_s": 3600.0},
            "worker": {
                "bad": {"run": "agents:fails", "every_s": 0.05},
                "good": {"run": "agents:counts", "every_s": 0.05},
            },
        }
    )
    first = installation.start_ready()
    wait_until(lambda: installation.events("breaker_opened"), what="the breaker opens")
    first.kill_9()
    second = installation.start_ready()
    wait_until(lambda: installation.events("cycle_skipped"), what="the tick is skipped")
    before = len(installation.outcomes("good"))
    wait_until(lambda: len(installation.outcomes("good")) > before + 3, what="its sibling goes on")
    assert installation.outcomes("bad").count("failed") == FAILURES_MAX
    assert second.metric("supervisor_breaker_state", name="worker:bad", state="open") == 1
    told = json.loads(installation.supervisor("breakers", "--json").stdout)
    (found,) = [one for one in told["breakers"] if one["name"] == "worker:bad"]
    assert (found["state"], found["cause"]) == ("open", "failures")
    closed = installation.supervisor("breakers", "close", "worker:bad", "--why", "mended")
    assert closed.stdout == "breaker worker:bad: closed, was open\n"
    wait_until(
        lambda: installation.outcomes("bad").count("failed") == 2 * FAILURES_MAX,
        what="it is woken, and fails as often again",
    )
    assert second.stop() == 0
    installation.check_audit()
