"""`run` and `once` say what forbids a start; how they live is for tests/e2e to show."""

from __future__ import annotations

import json

import pytest

from supervisor.lock import Holder, acquire
from tests.unit.cli.site import Site

WORDS = (("run",), ("once", "digest"))


@pytest.mark.parametrize("words", WORDS)
def test_config_that_is_wrong_exits_78_before_anything_starts(
    site: Site, words: tuple[str, ...]
) -> None:
    site.edit_config("daily_cap_usd = 1.00", "daily_cap_usd = -1")
    called = site.call(*words)
    assert called.code == 78
    assert "spend.daily_cap_usd = -1" in called.err
    assert not site.state_dir.exists()


@pytest.mark.parametrize("words", WORDS)
def test_second_daemon_exits_73_with_the_pid_of_the_first(
    site: Site, words: tuple[str, ...]
) -> None:
    site.state_dir.mkdir(mode=0o700)
    lock = acquire(site.state_dir)
    lock.describe(Holder(pid=4242, boot_id="boot-1", started_at=""))
    called = site.call(*words)
    lock.release()
    assert called.code == 73
    assert "error[already_running]: " in called.err
    assert "4242" in called.err


@pytest.mark.parametrize("words", WORDS)
def test_stop_file_lets_nothing_start_and_exits_0(site: Site, words: tuple[str, ...]) -> None:
    site.call("stop", "--why", "for the night")
    called = site.call(*words)
    assert called.code == 0
    assert "`supervisor stop --clear`" in called.err
    assert not site.store.exists()


@pytest.mark.parametrize("words", WORDS)
def test_store_that_only_a_person_can_mend_exits_78(lived: Site, words: tuple[str, ...]) -> None:
    lived.edit_config("[spend]", '[http]\nlisten = "127.0.0.1:0"\n[spend]')
    lived.store.write_bytes(b"")
    called = lived.call(*words)
    assert called.code == 78
    assert "error[store_damaged]: " in called.err


def test_once_of_a_worker_that_is_not_configured_exits_64_with_the_nearest(site: Site) -> None:
    called = site.call("once", "digets")
    assert called.code == 64
    assert "did you mean 'digest'?" in called.err


def test_stop_file_that_says_nothing_is_told_as_one(site: Site) -> None:
    site.state_dir.mkdir(mode=0o700)
    site.stop_file.touch()
    called = site.call("run")
    assert called.code == 0
    assert f"not started: {site.stop_file} is there: no word about why\n" in called.err


def test_once_tells_programs_how_its_tick_ended(site: Site) -> None:
    done = site.shell("--json once digest")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"worker": "digest", "outcome": "ok", "why": ""}


def test_once_that_fails_tells_programs_why(site: Site) -> None:
    agent = "async def run(ctx):\n    return ctx.failed('404')\n"
    (site.folder / "site_agent.py").write_text(agent)
    done = site.shell("once digest --json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"worker": "digest", "outcome": "failed", "why": "404"}


def test_once_under_a_stop_file_tells_programs_that_no_tick_was_started(site: Site) -> None:
    site.call("stop")
    called = site.call("once", "digest", "--json")
    assert called.code == 0
    assert json.loads(called.out)["outcome"] is None


@pytest.mark.parametrize(
    ("raised", "told"),
    [("KeyError('title')", "KeyError: 'title'"), ("SystemExit(5)", "SystemExit: 5")],
)
def test_a_crash_that_says_a_bare_key_or_number_is_told_with_its_type(
    site: Site, raised: str, told: str
) -> None:
    (site.folder / "site_agent.py").write_text(f"async def run(ctx):\n    raise {raised}\n")
    assert site.shell("once digest").stderr.splitlines()[-1] == f"digest: failed: {told}"
    assert f"digest: failed: {told}" in site.call("status").out
