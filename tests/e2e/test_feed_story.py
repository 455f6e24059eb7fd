"""A feed as its user lives with it: a digest, a break, the alert, and what it says to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from supervisor.alerts.failing import FAILING_MIN
from tests.e2e.daemon_process import Installation, wait_until
from tests.e2e.feed_server import serving_feed
from tests.e2e.machine_clock import MachineClock
from tests.e2e.ping_receiver import receiving_pings
from tests.e2e.test_alerts import Webhook, listed

NEW = "Something new"


def reports(site: Installation) -> list[str]:
    files = sorted((site.state_dir / "reports").glob("feeds-*.md"))
    return [file.read_text() for file in files]


def make_it_look(site: Installation) -> None:
    """Commit something from outside: the daemon looks at once, and not in half a minute."""
    assert site.supervisor("incident", "open", "Where is the digest?").returncode == 0


def test_a_feed_is_digested_breaks_is_told_of_and_is_mended_by_what_the_alert_says(
    on_both: Installation, tmp_path: Path
) -> None:
    clock = MachineClock(tmp_path / "clock", slice_s=0.05)
    seven = datetime(2026, 6, 1, 7, 0, tzinfo=UTC)
    with serving_feed("First", "Second") as feed, receiving_pings() as told:
        webhook = Webhook(told)
        on_both.configure(
            {
                "providers": {"builtin": {"kind": "builtin"}},
                "alerts": {"channel": {"ops": {"kind": "webhook", "url": told.url}}},
                "worker": {
                    "feeds": {
                        "run": "supervisor.agents.feed_digest:run",
                        "cron": "0 7 * * *",
                        "timezone": "UTC",
                        "model": "builtin/extractive",
                        "options": {"feeds": [feed.url]},
                        "http": {"allow": [httpx.URL(feed.url).netloc.decode()]},
                    }
                },
            }
        )
        clock.set(seven - timedelta(seconds=2))
        daemon = on_both.start(environment=clock.environment)
        daemon.wait_until_ready()

        def live_until(moment: datetime, ticks: int) -> None:
            clock.set(moment)
            wait_until(
                lambda: None not in on_both.outcomes("feeds")[ticks - 1 : ticks] != [],
                what=f"tick {ticks} of {moment} has ended",
            )

        live_until(seven, 1)
        [first] = reports(on_both)
        assert "# 2 new items in 1 of 1 feeds" in first
        assert "`First`" in first
        live_until(seven + timedelta(days=1), 2)
        assert len(reports(on_both)) == 1

        # On the third day it is a page of its host that says that it is gone.
        feed.break_it()
        live_until(seven + timedelta(days=2), 3)
        assert on_both.outcomes("feeds") == ["ok", "noop", "failed"]
        clock.step(FAILING_MIN.total_seconds())
        make_it_look(on_both)
        webhook.wait_for("raised the ticks of worker feeds fail")
        [alert] = listed(on_both)
        assert "is no RSS or Atom feed" in str(alert["what"])
        command = str(alert["command"]).strip("`").split()[1:]
        said = " ".join(on_both.supervisor(*command).stdout.split())
        assert "give the address of the RSS or Atom feed itself" in said

        # Mended, it goes on where it was, and that is told too.
        feed.mend(NEW)
        live_until(seven + timedelta(days=3), 4)
        make_it_look(on_both)
        webhook.wait_for("resolved the ticks of worker feeds fail")
        assert f"`{NEW}`" in reports(on_both)[-1]
        assert "`First`" not in reports(on_both)[-1]
        assert listed(on_both) == []
        assert daemon.stop() == 0
    on_both.check_audit()
