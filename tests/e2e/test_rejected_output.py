"""A worker whose every call would be answered with 200 fails where its output is wrong."""

from __future__ import annotations

import json
from functools import partial

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


SCHEMA = {"type": "object", "required": ["title"]}
#: For each check what a worker hands over that is wrong by it, and the bounds in the config.
WRONG: dict[str, tuple[list[object], dict[str, object]]] = {
    "duplicates": (["one and", " One  AND "], {}),
    "count": (["a", "b", "c", "d"], {"count_expected": 2}),
    "empty": ([" "], {}),
    "age": (["old"], {"age_max_s": 60.0}),
    "size": (["x" * 200], {"size_max_bytes": 100}),
    "schema": ([{"name": "no title"}], {"schema": "post.json"}),
    "posting:no_foxes": (["a fox"], {}),
}
RIGHT: list[object] = [{"title": "a"}, {"title": "b"}]


def test_each_check_of_the_config_fails_its_worker_and_keeps_the_draft(
    on_both: Installation,
) -> None:
    code = "from tests.e2e.posting_workers import hands_over, no_foxes\n"
    (on_both.folder / "posting.py").write_text(f"{code}__all__ = ['hands_over', 'no_foxes']\n")
    (on_both.folder / "post.json").write_text(json.dumps(SCHEMA))
    bounds = {key: value for _, more in WRONG.values() for key, value in more.items()}
    workers: dict[str, object] = {
        "fine": _handing_over(RIGHT, list(WRONG), {**bounds, "age_max_s": 60.0}, age_s=0.0)
    }
    for check, (wrong, more) in WRONG.items():
        name = check.replace("posting:", "own_")
        workers[name] = _handing_over(wrong, [check], more, age_s=3_600.0)
    on_both.configure({"worker": workers})
    daemon = on_both.start_ready()
    for name in workers:
        wait_until(partial(has_ticked, on_both, name), what=f"{name} ticked")
    assert on_both.outcomes("fine") == ["ok"], daemon.said()[-2000:]
    found = {str(event["worker"]): event for event in on_both.events("guardrail_output")}
    for check in WRONG:
        name = check.replace("posting:", "own_")
        assert on_both.outcomes(name) == ["failed"]
        assert found[name]["check"] == check
        assert list((on_both.state_dir / "reports" / "drafts").glob(f"{name}-*/*")), name
    assert set(found) == workers.keys() - {"fine"}
    assert daemon.stop() == 0
    on_both.check_audit()


def has_ticked(site: Installation, worker: str) -> bool:
    return site.outcomes(worker) not in ([], [None])


def _handing_over(
    posts: list[object], checks: list[str], bounds: dict[str, object], *, age_s: float
) -> dict[str, object]:
    return {
        "run": "posting:hands_over",
        "every_s": 3_600.0,
        "options": {"posts": posts, "age_s": age_s},
        "output": {"checks": checks, **bounds},
    }


def command_of(alert: dict[str, str]) -> list[str]:
    """Return the words of the one command that the alert names."""
    return alert["command"].strip("`").split()[1:]
