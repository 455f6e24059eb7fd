"""`kill` and `release` write the latch themselves, say what changed, and refuse a typo."""

from __future__ import annotations

import json
import sqlite3
import stat

import pytest

from tests.unit.cli.site import Site


def latches(site: Site) -> list[tuple[str, int, str, str]]:
    with sqlite3.connect(site.store) as connection:
        rows = connection.execute(
            "SELECT scope, is_engaged, actor, why FROM kill_latches"
        ).fetchall()
    connection.close()
    return rows


def test_kill_of_the_system_works_before_any_daemon_has_run(site: Site) -> None:
    called = site.call("kill", "--system", "--why", "a test")
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("kill switch system: engaged by alice: a test\n")
    assert latches(site) == [("system", 1, "alice", "a test")]
    assert stat.S_IMODE(site.state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(site.store.stat().st_mode) == 0o600


def test_second_kill_says_that_it_is_engaged_already_and_by_whom(site: Site) -> None:
    site.call("kill", "--system", "--why", "first", "--actor", "bob")
    called = site.call("kill", "--system", "--why", "second")
    assert called.code == 0
    assert "already engaged by bob: first" in called.out


def test_release_clears_it_in_the_name_of_its_actor(site: Site) -> None:
    site.call("kill", "--worker", "digest", "--why", "a test")
    called = site.call("release", "--worker", "digest", "--why", "mended", "--actor", "bob")
    assert called.code == 0
    assert called.out == "kill switch worker digest: released by bob: mended\n"
    assert latches(site) == [("worker:digest", 0, "bob", "mended")]


def test_release_of_what_is_not_engaged_says_so(site: Site) -> None:
    called = site.call("release", "--system", "--why", "x")
    assert (called.code, called.out) == (0, "kill switch system: was not engaged\n")


@pytest.mark.parametrize("command", ["kill", "release"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--why", "x"], "names no scope; add exactly one of --system, --worker NAME, --session"),
        ([], "add exactly one of --system, --worker NAME, --session ID"),
        (["--system", "--worker", "digest", "--why", "x"], "names 2 scopes"),
        (["--system"], "no reason is given; say why with --why TEXT"),
        (["--system", "--why", " "], "no reason is given"),
        (["--system", "--why", "x" * 501], "is empty or longer than 500 characters"),
        (["--worker", "dig est", "--why", "x", "--force"], "is not a scope of the kill switch"),
    ],
)
def test_order_that_is_not_complete_exits_64(
    site: Site, command: str, words: list[str], told: str
) -> None:
    called = site.call(command, *words)
    assert (called.code, called.out) == (64, "")
    assert told in called.err


def test_worker_that_nobody_knows_is_refused_with_the_nearest(site: Site) -> None:
    called = site.call("kill", "--worker", "digets", "--why", "x")
    assert called.code == 64
    assert "nothing was done; did you mean 'digest'?" in called.err
    assert not site.store.exists()


def test_worker_that_nobody_knows_is_killed_by_force(site: Site) -> None:
    assert site.call("kill", "--worker", "later", "--why", "x", "--force").code == 0
    # Once it is latched, its release needs no force.
    assert site.call("release", "--worker", "later", "--why", "x").code == 0


def test_worker_that_only_the_store_knows_can_be_killed(lived: Site) -> None:
    lived.edit_config("[worker.triage]", "[worker.other]")
    assert lived.call("kill", "--worker", "triage", "--why", "x").code == 0


def test_session_can_be_killed(lived: Site) -> None:
    sessions = json.loads(lived.call("sessions", "--worker", "digest", "--json").out)["sessions"]
    called = lived.call("kill", "--session", sessions[0]["id"], "--why", "x", "--json")
    assert called.code == 0
    assert json.loads(called.out)["scope"] == f"session:{sessions[0]['id']}"


@pytest.mark.parametrize("fixture", ["site", "lived"])
def test_session_that_does_not_exist_exits_64(fixture: str, request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(fixture)
    called = site.call("kill", "--session", "digest@nowhen", "--why", "x")
    assert called.code == 64
    assert "error[not_found]: session digest@nowhen: does not exist" in called.err
    assert site.store.exists() == (fixture == "lived")


def test_json_says_what_changed(site: Site) -> None:
    first = json.loads(site.call("kill", "--system", "--why", "x", "--json").out)
    assert (first["is_engaged"], first["changed"], first["actor"]) == (True, True, "alice")
    assert first["since"].endswith("Z")
    assert json.loads(site.call("kill", "--system", "--why", "y", "--json").out)["changed"] is False


def test_command_id_that_is_repeated_gives_the_first_answer(site: Site) -> None:
    words = ("kill", "--system", "--why", "x", "--command-id", "c1", "--json")
    assert json.loads(site.call(*words).out)["changed"] is True
    site.call("release", "--system", "--why", "mended")
    assert json.loads(site.call(*words).out)["changed"] is True
    assert latches(site)[0][1] == 0


def test_command_id_with_other_content_exits_1_and_names_the_field(site: Site) -> None:
    site.call("kill", "--system", "--why", "x", "--command-id", "c1")
    called = site.call("kill", "--system", "--why", "y", "--command-id", "c1")
    assert called.code == 1
    assert "error[command_conflict]: command c1: was used before with why 'x'" in called.err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("daily_cap_usd = 1.00", "daily_cap_usd = 'lots'"),
        ("[spend]\ndaily_cap_usd = 1.00\n", ""),
        ("every_s = 60.0", "evry_s = 60.0"),
    ],
)
def test_kill_works_where_the_rest_of_the_config_is_broken(
    site: Site, before: str, after: str
) -> None:
    site.edit_config(before, after)
    called = site.call("kill", "--system", "--why", "x")
    assert called.code == 0
    assert called.err.startswith("warning: ")
    assert "only [supervisor] was read" in called.err


def test_config_that_is_no_toml_exits_78(site: Site) -> None:
    site.configure("[supervisor\n")
    assert site.call("kill", "--system", "--why", "x").code == 78


def test_store_that_does_not_take_the_kill_exits_1_and_names_the_other_ways(lived: Site) -> None:
    lived.store.write_bytes(b"")
    called = lived.call("kill", "--system", "--why", "x")
    assert called.code == 1
    assert "error[store_damaged]: " in called.err
    assert "`supervisor stop` and `kill -9` work without the store" in called.err


def test_a_reason_writes_over_nothing_in_the_terminal(site: Site) -> None:
    # It may come from somebody else, by way of `POST /kill`.
    called = site.call("kill", "--system", "--why", "a\x1b[2Jb\nc")
    assert "\x1b" not in called.out
    assert "alice: a\\x1b[2Jb c\n" in called.out
