"""`value` shows what workers were worth, and says what would make it say more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.site import Site

ROOT = Path(__file__).parents[3]
SAVING = """
async def run(ctx):
    ctx.saved(0.25, "two issues answered")
    async with ctx.spend(usd_max=0.05, what="a call"):
        pass
"""


def tick(site: Site, worker: str) -> None:
    """Let a worker tick in a process of its own."""
    words = ["--config", str(site.config), "once", worker]
    subprocess.run(
        [sys.executable, "-m", "supervisor", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=True,
    )


@pytest.fixture
def saving(site: Site) -> Site:
    """An installation whose worker has ticked twice, a quarter of an hour at 60 USD each."""
    (site.folder / "saving_agent.py").write_text(SAVING)
    site.edit_config(
        '[worker.digest]\nrun = "site_agent:run"', '[worker.digest]\nrun = "saving_agent:run"'
    )
    site.edit_config("[spend]", "[value]\nrate_usd_per_hour = 60.0\n[spend]")
    for _ in range(2):
        tick(site, "digest")
    return site


def test_a_worth_is_shown_beside_its_cost(saving: Site) -> None:
    called = saving.call("value")
    assert (called.code, called.err) == (0, "")
    head, row, total = called.out.splitlines()
    titles = ["MONTH", "WORKER", "HOURS", "SAVED", "WORTH", "USD", "COST", "USD", "VALUE", "USD"]
    assert head.split() == titles
    assert row.split()[1:] == ["digest", "0.5", "30.00", "0.10", "29.90"]
    assert total.split() == ["total", "0.5", "30.00", "0.10", "29.90"]
    assert saving.call("value", "--by", "worker").out.splitlines()[1].split()[0] == "digest"
    assert "value: 0.5 hours saved, worth 30.00 USD" in saving.call("scorecard").out


def test_json_has_micro_usd_and_usd(saving: Site) -> None:
    answer = json.loads(saving.call("value", "--by", "day", "--json").out)
    assert answer["total"]["value_micro_usd"] == 29_900_000
    (value,) = answer["values"]
    assert (value["value_usd"], value["micro_hours"]) == (29.9, 500_000)
    assert answer["damaged_total"] == 0


def test_hours_without_a_rate_say_what_to_set(saving: Site) -> None:
    saving.edit_config("rate_usd_per_hour = 60.0", "")
    tick(saving, "digest")
    called = saving.call("value")
    assert "0.25 hours were saved while nobody had said what an hour is worth" in called.err
    assert "set [value] rate_usd_per_hour for those to come" in " ".join(called.err.split())


def test_the_configs_hours_and_a_workers_own_rate_count(site: Site) -> None:
    site.edit_config(
        '[worker.triage]\nrun = "site_agent:run"',
        '[worker.triage]\nhours_saved = 0.1\nrate_usd_per_hour = 20\nrun = "site_agent:run"',
    )
    tick(site, "triage")
    assert site.call("value").out.splitlines()[1].split()[1:] == [
        "triage",
        "0.1",
        "2.00",
        "0.00",
        "2.00",
    ]


def test_nothing_saved_is_said(lived: Site) -> None:
    called = lived.call("value", "--worker", "triage", "--by", "day")
    assert called.out.splitlines()[1].split()[1:] == ["triage", "0", "0.00", "0.25", "-0.25"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--worker", "digets"), "did you mean 'digest'?"),
        (("--last", "1000000"), "give 1 to 10000"),
        (("--by", "year"), "invalid choice"),
    ],
)
def test_what_is_mistyped_is_refused_with_the_cure(
    lived: Site, words: tuple[str, ...], said: str
) -> None:
    called = lived.call("value", *words)
    assert (called.code, said in called.err) == (64, True)


@pytest.mark.parametrize("value", ["-1", "true", "1e9", '"60"'])
def test_an_impossible_rate_is_refused(site: Site, value: str) -> None:
    site.edit_config("[spend]", f"[value]\nrate_usd_per_hour = {value}\n[spend]")
    called = site.call("value")
    assert (called.code, "value.rate_usd_per_hour" in called.err) == (78, True)
