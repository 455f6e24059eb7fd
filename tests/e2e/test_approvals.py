"""Approvals as a new user tries them: a policy, a daemon, and the command line beside it."""

from __future__ import annotations

import json
import time

import pytest

from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, wait_until

POLICY = {
    "blocked": ["send_email"],
    "auto_approve": ["tag_issue"],
    "always_approve": ["merge"],
    "known_assets": ["issue:*"],
    "auto": {"dry_run_only": False},
}


class Triage:
    """A daemon whose worker ticks once in an hour, unless it is called."""

    def __init__(self, installation: Installation) -> None:
        self.site = installation
        self.notes_file = installation.folder / "notes.txt"
        self.configure()

    def configure(self, **policy: object) -> None:
        options = {"notes": str(self.notes_file)}
        worker = {"run": "agents:triages", "every_s": 3600.0, "options": options}
        self.site.configure({"policy": {**POLICY, **policy}, "worker": {"triage": worker}})

    def notes(self) -> list[str]:
        return self.notes_file.read_text().splitlines() if self.notes_file.exists() else []

    def ticket(self) -> str:
        """Return the ticket that waits, once there is one."""

        def waiting() -> list[dict[str, str]]:
            answer = self.site.supervisor("approvals", "--json")
            found: list[dict[str, str]] = json.loads(answer.stdout or '{"approvals": []}')[
                "approvals"
            ]
            return found

        return wait_until(waiting, what="a ticket waits")[0]["id"]

    def wait_for(self, note: str) -> None:
        wait_until(lambda: note in self.notes(), what=f"{note} is noted: {self.notes()}")


@pytest.fixture
def triage(installation: Installation) -> Triage:
    return Triage(installation)


def test_a_new_users_policy_denies_tags_and_asks_and_a_person_approves_from_the_command_line(
    triage: Triage, measure: Measure
) -> None:
    daemon = triage.site.start_ready()
    ticket = triage.ticket()
    assert triage.notes() == ["tagged", "action_denied"]
    assert daemon.metric("supervisor_approvals_pending") == 1
    assert daemon.get("/approvals").json()["approvals"][0]["id"] == ticket
    assert "approvals: 1 waiting" in triage.site.supervisor("status").stdout
    approved = triage.site.supervisor("approvals", "approve", ticket, "--why", "looked at it")
    assert approved.returncode == 0, approved.stderr
    decided_s = time.monotonic()
    triage.wait_for("merged")
    measure("a worker after the approval of its ticket", f"{time.monotonic() - decided_s:.2f} s")
    late = triage.site.supervisor("approvals", "deny", ticket)
    assert (late.returncode, "illegal_move" in late.stderr) == (1, True)
    assert daemon.stop() == 0
    # Called once by the decision, and by nothing else that was committed meanwhile.
    assert triage.notes() == ["tagged", "action_denied", "tagged", "action_denied", "merged"]
    triage.site.check_audit()


def test_an_approval_while_the_daemon_is_down_is_used_at_its_next_start(triage: Triage) -> None:
    daemon = triage.site.start_ready()
    ticket = triage.ticket()
    daemon.kill_9()
    assert triage.site.supervisor("approvals", "approve", ticket).returncode == 0
    triage.site.start_ready()
    triage.wait_for("merged")
    (granted,) = [
        event for event in triage.site.events("approval_granted") if event.get("ticket") == ticket
    ]
    assert granted["by"] == "tester"


def test_after_a_system_kill_nothing_is_approved_nor_merged_also_after_a_restart(
    triage: Triage,
) -> None:
    daemon = triage.site.start_ready()
    ticket = triage.ticket()
    triage.site.supervisor("kill", "--system", "--why", "drill")
    for _ in range(2):
        refused = triage.site.supervisor("approvals", "approve", ticket)
        assert (refused.returncode, "kill_switch_engaged" in refused.stderr) == (1, True)
        assert daemon.stop() == 0
        daemon = triage.site.start_ready()
    assert triage.site.supervisor("release", "--system", "--why", "over").returncode == 0
    assert triage.site.supervisor("approvals", "approve", ticket).returncode == 0
    triage.wait_for("merged")


def test_an_overdue_ticket_expires_by_itself_and_its_worker_is_told(triage: Triage) -> None:
    triage.configure(ticket_deadline_s=1.0, sweep_every_s=0.2)
    daemon = triage.site.start_ready()
    wait_until(lambda: triage.site.events("approval_timed_out"), what="the ticket expires")
    wait_until(lambda: len(triage.site.outcomes("triage")) == 2, what="the worker is called")
    daemon.stop()
    assert triage.site.outcomes("triage") == ["refused", "refused"]
    (last,) = triage.site.events("cycle_completed")[-1:]
    assert last["code"] == "action_denied"
    triage.site.check_audit()
