"""The morning after a bad night, as the report of the real daemon tells it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.e2e.daemon_process import Installation, wait_until
from tests.e2e.machine_clock import MachineClock
from tests.e2e.webhook_receiver import receiving_webhooks

EVENING = datetime(2026, 6, 1, 22, 0, tzinfo=UTC)
SEVEN = datetime(2026, 6, 2, 7, 0, tzinfo=UTC)


def test_a_night_of_failures_a_death_and_an_open_ticket_is_told_as_it_was(
    on_both: Installation, tmp_path: Path
) -> None:
    clock = MachineClock(tmp_path / "clock", slice_s=0.05)
    clock.set(EVENING)
    with receiving_webhooks() as hook:
        channel = {"kind": "webhook", "url": hook.url, "least": "info"}
        notes = str(tmp_path / "notes")
        on_both.configure(
            {
                "supervisor": {"timezone": "UTC"},
                "alerts": {"channel": {"ops": channel}},
                "report": {"at": "0 7 * * *"},
                "policy": {"always_approve": ["merge"], "auto_approve": ["tag_issue"]},
                "breakers": {"failures_max": 3},
                "worker": {
                    "good": {"run": "agents:counts", "every_s": 0.2},
                    "bad": {"run": "agents:fails", "every_s": 0.05},
                    "hangs": {"run": "agents:hangs", "every_s": 3_600.0},
                    "asks": {
                        "run": "agents:triages",
                        "every_s": 3_600.0,
                        "options": {"notes": notes},
                    },
                },
            }
        )
        daemon = on_both.start(environment=clock.environment)
        daemon.wait_until_ready()
        wait_until(lambda: on_both.outcomes("bad").count("failed") == 3, what="it has failed")
        wait_until(lambda: on_both.outcomes("good").count("ok") > 3, what="the other one works")
        wait_until(lambda: on_both.outcomes("asks") not in ([], [None]), what="a ticket is there")
        daemon.kill_9()
        clock.set(SEVEN - timedelta(seconds=20))
        daemon = on_both.start(environment=clock.environment)
        daemon.wait_until_ready()
        clock.set(SEVEN + timedelta(seconds=1))
        path = on_both.state_dir / "reports" / "morning-2026-06-02.md"
        wait_until(path.exists, what="the report is there", within_s=60)
        text = path.read_text()
        assert re.search(r"\*\*Not all went well: .* failed, and the daemon died once", text)
        # Three, and the probes that its breaker let through.
        assert re.search(r"- bad: [3-9] ticks", text)
        assert "- hangs: 1 tick\n  - once: the daemon died while it ran" in text
        assert "breaker worker:bad is open" in text
        assert "asks wants tag_issue" in text
        assert re.search(r"\| good \| \d+ ok \|", text)
        assert text.index("What waits for you") < text.index("What failed")
        wait_until(
            lambda: any("morning report: Not all went well" in told for told in hook.told()),
            what="it is told",
            within_s=60,
        )
        assert daemon.stop() == 0
        asked = on_both.supervisor("report", "--since", "10h")
        assert asked.returncode == 0, asked.stderr
    on_both.check_audit()
