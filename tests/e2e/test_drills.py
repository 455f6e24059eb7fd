"""Drills on a real daemon pass, show in its metrics, and fail with the reason when sabotaged."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, Tables, installed, wait_until

#: The product's second, and what a machine with other work may take.
LIMIT_S = 5.0
METRIC = "supervisor_drill_last_pass_timestamp_seconds"


def counting(**drills: str) -> Tables:
    """Return a config with a worker that ticks fast, and these drills."""
    return {
        "supervisor": {"kill_latency_s": LIMIT_S},
        "drills": drills,
        "worker": {"other": {"run": "agents:counts", "every_s": 0.05}},
    }


def drill(site: Installation, *words: str) -> tuple[int, dict[str, object]]:
    """Hold a drill and return its exit code and verdict."""
    ended = site.supervisor("drill", *words, "--json")
    assert ended.stdout, ended.stderr
    verdict = json.loads(ended.stdout)
    assert isinstance(verdict, dict)
    return ended.returncode, verdict


def engaged(site: Installation) -> list[object]:
    return [row[0] for row in site.rows("SELECT scope FROM kill_latches WHERE is_engaged = 1")]


def test_kill_drill_passes_on_the_running_daemon_and_shows_in_its_metrics(
    installation: Installation, measure: Measure
) -> None:
    installation.configure(counting())
    daemon = installation.start_ready()
    assert daemon.metric(METRIC, drill="kill") == 0
    for _ in range(2):
        began_s = time.time()
        code, verdict = drill(installation, "kill")
        assert (code, verdict["passed"]) == (0, True), verdict
        assert daemon.metric(METRIC, drill="kill") >= int(began_s)
        measure("drill kill: engage to recorded quiet", f"{verdict['measured_s']} s")
    assert installation.outcomes("canary") == ["cancelled", "skipped"] * 2
    assert installation.rows("SELECT status, cost_held FROM holds") == [("forfeited", 0)] * 2
    assert engaged(installation) == []
    assert [event["drill"] for event in installation.events("drill_passed")] == ["kill", "kill"]
    assert set(installation.outcomes("other")) <= {"ok", None}
    assert daemon.stop() == 0
    installation.check_audit()


def test_kill_drill_fails_where_the_canary_swallows_its_cancellation(
    installation: Installation,
) -> None:
    installation.configure(
        {
            **counting(canary="agents:swallows_cancellation"),
            "supervisor": {"kill_latency_s": 0.5, "grace_s": 0.5},
        }
    )
    daemon = installation.start_ready()
    code, verdict = drill(installation, "kill")
    assert (code, verdict["passed"]) == (1, False)
    assert "swallows its cancellation" in str(verdict["what"])
    assert daemon.metric(METRIC, drill="kill") == 0
    (failed,) = installation.events("drill_failed")
    assert "swallows its cancellation" in str(failed["why"])
    assert engaged(installation) == []
    assert daemon.stop() == 0


def test_kill_drill_fails_where_the_canary_is_slow_to_end(installation: Installation) -> None:
    installation.configure(
        {**counting(canary="agents:ends_late"), "supervisor": {"kill_latency_s": 0.2}}
    )
    installation.start_ready()
    code, verdict = drill(installation, "kill")
    assert code == 1
    assert "0.2 s are allowed: it is slow" in str(verdict["what"])


def test_kill_drill_fails_where_the_canary_can_not_fly(installation: Installation) -> None:
    installation.configure(counting())
    daemon = installation.start_ready()
    assert installation.supervisor("kill", "--system", "--why", "a test").returncode == 0
    code, verdict = drill(installation, "kill")
    assert code == 1
    assert "did not fly: its tick ended skipped: kill switch system" in str(verdict["what"])
    assert engaged(installation) == ["system"]
    assert daemon.stop() == 0


@pytest.mark.parametrize("name", ["kill", "approvals"])
def test_a_drill_of_the_daemon_needs_one_and_records_nothing_without(
    installation: Installation, name: str
) -> None:
    installation.configure(counting())
    assert installation.supervisor("once", "other").returncode == 0
    ended = installation.supervisor("drill", name)
    assert ended.returncode == 1
    assert "no daemon runs" in ended.stderr
    assert installation.number("SELECT count(*) FROM drills") == 0


def test_after_a_drill_that_died_the_canary_flies_again_at_the_next_one(
    installation: Installation,
) -> None:
    installation.configure(counting(canary="agents:ends_late"))
    installation.start_ready()
    process = installation.begin("drill", "kill")
    wait_until(lambda: engaged(installation) == ["worker:canary"], what="the canary is killed")
    process.kill()
    process.wait()
    assert engaged(installation) == ["worker:canary"]
    ended = installation.supervisor("drill", "kill")
    assert ended.returncode == 1
    assert "under way" in ended.stderr
    gone = ["cancelled", "skipped"]
    wait_until(lambda: installation.outcomes("canary") == gone, what="the canary is down")
    installation.change(installation.store, "UPDATE drills SET asked_at = asked_at - 120000000")
    code, verdict = drill(installation, "kill")
    assert (code, verdict["passed"]) == (0, True), verdict
    assert engaged(installation) == []
    (lost,) = installation.events("drill_failed")
    assert "ended before there was a verdict" in str(lost["why"])


def test_restore_drill_passes_beside_a_working_daemon_and_leaves_no_trace_but_its_verdict(
    installation: Installation, measure: Measure
) -> None:
    caller = {"run": "agents:calls_once", "model": "builtin/extractive", "every_s": 0.05}
    providers = {"builtin": {"kind": "builtin"}}
    installation.configure({**counting(), "providers": providers, "worker": {"other": caller}})
    daemon = installation.start_ready()
    wait_until(lambda: len(installation.outcomes("other")) > 5, what="it works")
    code, verdict = drill(installation, "restore")
    assert (code, verdict["passed"]) == (0, True), verdict
    measure("drill restore", f"{verdict['measured_s']} s: {verdict['what']}")
    assert daemon.metric(METRIC, drill="restore") > 0
    assert list(installation.state_dir.glob(".drill*")) == []
    assert list(installation.state_dir.glob("*before-restore*")) == []
    assert installation.events("store_restored") == []
    assert daemon.stop() == 0
    assert drill(installation, "restore")[0] == 0
    installation.check_audit()


@pytest.mark.parametrize("way", ["torn", "cut", "edited", "of another store"])
def test_restore_drill_fails_with_the_reason_on_a_bad_backup(
    installation: Installation, tmp_path: Path, way: str
) -> None:
    installation.configure(counting())
    daemon = installation.start_ready()
    wait_until(lambda: len(installation.outcomes("other")) > 5, what="it works")
    backup = tmp_path / "backup.db"
    assert installation.supervisor("backup", str(backup)).returncode == 0
    assert drill(installation, "restore", "--backup", str(backup))[0] == 0
    reason = spoil(installation, backup, way)
    code, verdict = drill(installation, "restore", "--backup", str(backup))
    assert (code, verdict["passed"]) == (1, False)
    assert reason in str(verdict["what"])
    (failed,) = installation.events("drill_failed")
    assert reason in str(failed["why"])
    assert list(installation.state_dir.glob(".drill*")) == []
    assert daemon.stop() == 0
    installation.check_audit()


def spoil(site: Installation, backup: Path, way: str) -> str:
    """Spoil the backup and return what the verdict must say."""
    content = bytearray(backup.read_bytes())
    if way == "torn":
        content[20_480:24_000] = b"\xff" * 3_520
    elif way == "cut":
        content = content[: len(content) // 2]
    elif way == "edited":
        site.change(backup, "UPDATE workers SET last_tick = last_tick + 1")
        return "does not pass the audit"
    else:
        with installed(site.folder / "other") as other:
            other.configure(counting())
            assert other.supervisor("once", "other").returncode == 0
            assert other.supervisor("backup", "--force", str(backup)).returncode == 0
        return "no later state of the backup"
    backup.write_bytes(content)
    return "damaged"


def sweeping(worker: str) -> Tables:
    """Return a config whose approvals are swept often, with this worker."""
    workers = {"other": {"run": f"agents:{worker}", "every_s": 0.05}}
    return {**counting(), "policy": {"sweep_every_s": 0.5}, "worker": workers}


def test_approvals_drill_passes_on_the_running_daemon_and_leaves_nothing_but_its_verdict(
    installation: Installation, measure: Measure
) -> None:
    installation.configure(sweeping("counts"))
    daemon = installation.start_ready()
    assert daemon.metric(METRIC, drill="approvals") == 0
    # Under a kill too: what nobody decided in time is denied then as ever.
    assert installation.supervisor("kill", "--system", "--why", "a test").returncode == 0
    code, verdict = drill(installation, "approvals")
    assert (code, verdict["passed"]) == (0, True), verdict
    measure("drill approvals: asked to cleared", f"{verdict['measured_s']} s of 5.5 s allowed")
    assert daemon.metric(METRIC, drill="approvals") > 0
    assert daemon.metric("supervisor_approvals_pending") == 0
    for table in ("proposals", "tickets"):
        assert installation.number(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - a test's own text
    assert installation.events("approval_requested") == []
    assert [event["drill"] for event in installation.events("drill_passed")] == ["approvals"]
    assert daemon.stop() == 0
    installation.check_audit()


def test_approvals_drill_fails_where_the_sweep_is_disabled(installation: Installation) -> None:
    installation.configure(sweeping("disables_the_sweep"))
    daemon = installation.start_ready()
    wait_until(lambda: "ok" in installation.outcomes("other"), what="the sweep is disabled")
    code, verdict = drill(installation, "approvals")
    assert (code, verdict["passed"]) == (1, False)
    assert "the daemon's sweep has not come round within 5.5 s" in str(verdict["what"])
    assert daemon.metric(METRIC, drill="approvals") == 0
    (failed,) = installation.events("drill_failed")
    assert failed["why"] == verdict["what"]
    doctor = installation.supervisor("doctor")
    assert doctor.returncode == 1
    assert "has not come round" in doctor.stdout.replace("\n", " ")
    assert daemon.stop() == 0
    installation.check_audit()


def test_daemon_holds_the_drills_that_are_scheduled(installation: Installation) -> None:
    names = ("kill", "approvals", "restore")
    installation.configure(
        {**counting(**dict.fromkeys(names, "2s")), "policy": {"sweep_every_s": 0.5}}
    )
    daemon = installation.start_ready()
    for name in names:
        wait_until(
            lambda name=name: daemon.metric(METRIC, drill=name) > 0,  # type: ignore[misc] # bound now
            what=f"drill {name} was passed",
        )
    passed = {event["drill"] for event in installation.events("drill_passed")}
    assert passed == set(names)
    assert installation.log_lines("drill_passed")
    assert daemon.stop() == 0
    installation.check_audit()
