"""The README's page about actions, done word by word in an empty folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.unit.test_readme import blocks, run_supervisor, text

CONFIG = """
[spend]
daily_cap_usd = 1.00
[worker.triage]
run = "triage:run"
every_s = 3600.0
"""


def test_the_policy_and_the_worker_of_the_readme_deny_tag_and_ask(tmp_path: Path) -> None:
    part = text("docs/workers.md").partition("## Let agents act, and ask")[2].partition("\n## ")[0]
    (policy,) = blocks(part, "toml")
    (worker,) = blocks(part, "py")
    (tmp_path / "config.toml").write_text(policy + CONFIG, encoding="utf-8")
    (tmp_path / "triage.py").write_text(worker, encoding="utf-8")
    assert run_supervisor("once", "triage", folder=tmp_path).stderr.endswith("triage: ok\n")
    (ticket,) = json.loads(run_supervisor("approvals", "--json", folder=tmp_path).stdout)[
        "approvals"
    ]
    assert (ticket["action"], ticket["status"]) == ("merge", "pending")
    words = ("approvals", "approve", ticket["id"], "--why", "looked at it")
    approved = run_supervisor(*words, folder=tmp_path).stdout
    told = re.search(r"^ticket \S+ (.*)$", part, re.M)
    assert told is not None
    assert approved == f"ticket {ticket['id']}: {told[1]}\n"
    assert executed(tmp_path) == ["tag_issue"]
    for _ in range(2):
        assert run_supervisor("once", "triage", folder=tmp_path).stderr.endswith("triage: ok\n")
        assert executed(tmp_path) == ["tag_issue", "merge"]
    denied = events(tmp_path, "approval_denied")
    assert {one["code"] for one in denied} == {"blocked"}
    assert run_supervisor("audit", folder=tmp_path).returncode == 0


def executed(folder: Path) -> list[object]:
    return [one["action"] for one in events(folder, "execution_completed")]


def events(folder: Path, kind: str) -> list[dict[str, object]]:
    told = run_supervisor("events", "--kind", kind, "--json", folder=folder).stdout
    return [json.loads(line)["payload"] for line in told.splitlines()]
