"""`supervisor prune`, and `audit --export`."""

from __future__ import annotations

import pytest

from tests.unit.cli.site import Site
from tests.unit.governance.recorded_life import RecordedLife

DAY_S = 86_400


async def _a_week(life: RecordedLife) -> None:
    # A week ago until now: the command line has the machine's clock.
    life.clock.advance(-8 * DAY_S)
    for _ in range(8):
        life.clock.advance(DAY_S)
        await life.start("digest", "triage")
        await life.tick("digest", 1_500)
        await life.tick("triage", 2_500)


@pytest.fixture
def aged(site: Site) -> Site:
    site.live(_a_week)
    return site


def test_what_would_go_is_said_and_nothing_is_changed(aged: Site) -> None:
    called = aged.call("prune", "--dry-run", "--keep-days", "3")
    assert (called.code, called.err) == (0, "")
    assert "would export and prune" in called.out
    assert not (aged.state_dir / "exports").exists()
    assert "0 closed" in aged.call("prune", "--dry-run").out


def test_old_windows_go_into_a_file_that_can_be_audited(aged: Site) -> None:
    called = aged.call("prune", "--keep-days", "3")
    assert (called.code, called.err) == (0, "")
    (path,) = (aged.state_dir / "exports").glob("*")
    assert path.name in called.out
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.name in aged.call("prune", "list").out
    audited = aged.call("audit", "--export", str(path))
    assert (audited.code, audited.out.splitlines()[-1][:12]) == (0, "audit: sound")
    assert aged.call("audit").code == 0
    assert "pruned 0 sessions" in aged.call("prune", "--keep-days", "3").out


def test_a_file_that_is_no_export_is_refused(aged: Site) -> None:
    refused = aged.call("audit", "--export", str(aged.config))
    assert refused.code == 1
    assert "error[store_damaged]: export" in refused.err
    missing = aged.call("audit", "--export", "nowhere.jsonl.gz")
    assert "No such file" in missing.err


def test_a_word_that_is_not_known_is_refused(aged: Site) -> None:
    refused = aged.call("prune", "everything")
    assert refused.code == 64
    assert "prune everything" in refused.err
