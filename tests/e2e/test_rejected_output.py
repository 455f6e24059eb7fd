"""A worker whose every call would be answered with 200 fails where its output is wrong."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, wait_until
from tests.e2e.ping_receiver import receiving_pings


def configure(site: Installation, *, wall: str, webhook: str, is_varied: bool) -> None:
    code = "from tests.e2e.posting_workers import posts\n__all__ = ['posts']\n"
    (site.folder / "posting.py").write_text(code)
    host = wall.removeprefix("http://").partition("/")[0]
    worker = {
        "run": "posting:posts",
        "every_s": 3600.0,
        "options": {"count": 47, "is_varied": is_varied, "url": wall},
        "http": {
            "allow": [host],
            "publish_methods": ["POST"],
            "robots": False,
            "host_every_s": 0.0,
        },
        "output": {"checks": ["empty", "duplicates"]},
    }
    channel = {"kind": "webhook", "url": webhook, "least": "critical"}
    site.configure({"alerts": {"channel": {"ops": channel}}, "worker": {"poster": worker}})


@pytest.mark.parametrize("is_varied", [False, True])
def test_47_duplicates_fail_the_tick_are_alerted_and_nothing_is_published(
    on_both: Installation, measure: Measure, is_varied: bool
) -> None:
    with receiving_pings() as wall, receiving_pings() as told:
        configure(on_both, wall=wall.url, webhook=told.url, is_varied=is_varied)
        daemon = on_both.start_ready()
        wait_until(lambda: on_both.outcomes("poster") not in ([], [None]), what="it ticked")
        reports = on_both.state_dir / "reports"
        if is_varied:
            assert on_both.outcomes("poster") == ["ok"], daemon.said()[-2000:]
            assert [body for _, body in wall.pings] == [f"post {n}" for n in range(47)]
            assert (reports / "posted.md").exists()
            assert told.pings == []
        else:
            assert on_both.outcomes("poster") == ["failed"]
            wait_until(lambda: told.pings, what="somebody is told")
            [alert] = [json.loads(body) for _, body in told.pings]
            assert "did not pass the check duplicates" in alert["title"]
            assert "47 of 48 outputs are duplicates" in alert["what"]
            assert on_both.supervisor(*command_of(alert)).stdout.count("guardrail_output") == 1
            assert wall.pings == []
            assert not list(reports.glob("*.md"))
            assert len(list((reports / "drafts").rglob("*.*"))) == 2
            assert daemon.metric("supervisor_events_total", kind="guardrail_output") == 1
            measure("47 duplicates", f"{len(wall.pings)} published, 1 alert, tick failed")
        assert daemon.stop() == 0
    on_both.check_audit()


def command_of(alert: dict[str, str]) -> list[str]:
    """Return the words of the one command that the alert names."""
    return alert["command"].strip("`").split()[1:]
