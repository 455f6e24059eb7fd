"""Long work goes on behind its last committed item after each kill -9."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, Tables, wait_until

ITEMS = 1_000
KILLS = 5


def working(notes: Path, **more: object) -> Tables:
    worker = {"run": "agents:works_through", "tick_timeout_s": 600.0, **more}
    return {
        "worker": {"long": worker | {"options": {"items": ITEMS, "notes": str(notes)}}},
        "jobs": {"attempts_max": 50},
    }


def begun(notes: Path) -> list[int]:
    """Return the items that were begun, in order; the last line may be half written."""
    text = notes.read_text(encoding="utf-8") if notes.exists() else ""
    return [int(line) for line in text.split("\n")[:-1]]


def has_begun(notes: Path, number: int) -> bool:
    return len(begun(notes)) >= number


@pytest.mark.parametrize("is_job", [True, False], ids=["job", "tick"])
def test_kill_9_again_and_again_repeats_no_committed_item(
    installation: Installation, tmp_path: Path, measure: Measure, *, is_job: bool
) -> None:
    notes, chance = tmp_path / "notes", random.Random(7)  # noqa: S311 - when to kill
    installation.configure(working(notes, **({"queue": "long"} if is_job else {"every_s": 3600.0})))
    if is_job:
        installation.supervisor("jobs", "enqueue", "long", '"all of it"')
    for kill in range(KILLS):
        seen = len(begun(notes))
        daemon = installation.start_ready()
        wait_until(partial(has_begun, notes, seen + 4), what="items are worked on")
        time.sleep(chance.random() * 0.2)
        if kill == 0:
            (shown,) = json.loads(installation.supervisor("status", "--json").stdout)["progress"]
            assert (shown["worker"], shown["total"], shown["is_running"]) == ("long", ITEMS, True)
            assert daemon.get("/status").json()["progress"][0]["done"] >= shown["done"] > 0
            assert daemon.metric("supervisor_progress_items", worker="long") == ITEMS
        daemon.kill_9()
    last = installation.start_ready()
    wait_until(lambda: installation.outcomes("long")[-1:] == ["ok"], what="all of it is done")
    assert last.stop() == 0
    items = begun(notes)
    times = Counter(items)
    assert sorted(times) == list(range(ITEMS))
    repeated = [item for item, number in times.items() if number > 1]
    measure(f"long work, {KILLS} x kill -9 ({ITEMS} items)", f"{len(repeated)} items repeated")
    # The one in work at each death, and nothing else; what was kept counts each of them once.
    assert sum(times.values()) - ITEMS <= KILLS
    (sums,) = installation.rows("SELECT kept FROM progress")
    assert json.loads(str(sums[0])) == {"sum": sum(range(ITEMS))}
    installation.check_audit()
