"""`sessions` lists windows, shows one, and resumes a paused one."""

from __future__ import annotations

import json

import pytest

from supervisor.governance.rotation import find_session, pause_session
from tests.unit.cli.site import Site
from tests.unit.governance.recorded_life import RecordedLife


def session_of(site: Site, worker: str) -> str:
    rows = json.loads(site.call("sessions", "--worker", worker, "--json").out)["sessions"]
    return str(rows[0]["id"])


def pause(site: Site, session_id: str) -> None:
    async def story(life: RecordedLife) -> None:
        session = await life.store.read(find_session, session_id)
        assert session is not None
        await life.store.write(pause_session, session, life.origin(), why="spend cap")

    site.live(story)


def test_sessions_are_listed_with_their_totals(lived: Site) -> None:
    called = lived.call("sessions")
    assert (called.code, called.err) == (0, "")
    assert "0.250000" in called.out
    assert max(map(len, called.out.splitlines())) <= 100


def test_list_of_one_worker_has_no_other(lived: Site) -> None:
    answer = json.loads(lived.call("sessions", "--worker", "triage", "--json").out)
    assert {row["worker"] for row in answer["sessions"]} == {"triage"}
    assert answer["is_complete"] is True


def test_list_that_was_cut_says_so(lived: Site) -> None:
    called = lived.call("sessions", "--limit", "1")
    assert called.code == 0
    assert "these are the newest 1; --limit N shows more" in called.err
    assert json.loads(lived.call("sessions", "--limit", "1", "--json").out)["is_complete"] is False


def test_show_tells_all_of_one_session(lived: Site) -> None:
    session_id = session_of(lived, "triage")
    called = lived.call("sessions", "show", session_id, "--json")
    assert called.code == 0
    session = json.loads(called.out)
    assert (session["id"], session["status"], session["cost_usd"]) == (session_id, "active", 0.25)
    assert session["counters"]["ticks"] == {"ok": 1}
    assert session["sealed"] is None
    assert session_id in lived.call("sessions", "show", session_id).out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show"], "needs the session's ID"),
        (["resume"], "needs the session's ID"),
        (["abort"], "needs the session's ID"),
        (["abort", "x", "--why", "y", "--reason", "kill-switch"], "did you mean 'kill_switch'?"),
        (["abort", "digest@nowhen", "--why", "y"], "session digest@nowhen: does not exist"),
        (["list", "x"], "takes no ID"),
        (["shwo", "x"], "did you mean 'show'?"),
        (["show", "digest@nowhen"], "session digest@nowhen: does not exist"),
        (["resume", "digest@nowhen"], "session digest@nowhen: does not exist"),
    ],
)
def test_words_that_do_not_fit_exit_64(lived: Site, words: list[str], told: str) -> None:
    called = lived.call("sessions", *words)
    assert called.code == 64
    assert told in called.err


def test_paused_session_is_resumed_in_the_name_of_its_actor(lived: Site) -> None:
    session_id = session_of(lived, "digest")
    pause(lived, session_id)
    words = ("sessions", "resume", session_id, "--why", "more money", "--command-id", "r1")
    called = lived.call(*words)
    assert (called.code, called.out) == (0, f"session {session_id}: active\n")
    last = json.loads(lived.call("events", "--kind", "session_resumed", "--json").out)
    assert (last["actor"], last["command_id"]) == ("alice", "r1")
    assert last["payload"]["why"] == "more money"
    # Repeated: the first answer, and no second event.
    assert lived.call(*words).code == 0
    assert lived.call("events").out.count("session_resumed") == 1
    assert lived.call("audit").code == 0


def test_session_that_is_not_paused_can_not_be_resumed(lived: Site) -> None:
    called = lived.call("sessions", "resume", session_of(lived, "digest"))
    assert called.code == 1
    assert "error[illegal_move]: " in called.err


def test_resume_makes_no_store_where_there_is_none(site: Site) -> None:
    called = site.call("sessions", "resume", "digest@nowhen")
    assert called.code == 1
    assert "error[store_unavailable]: " in called.err
    assert not site.state_dir.exists()


def test_session_is_aborted_for_a_reason_once(lived: Site) -> None:
    session_id = session_of(lived, "digest")
    refused = lived.call("sessions", "abort", session_id)
    assert refused.code == 64
    assert "say why, in a sentence" in refused.err
    words = ("sessions", "abort", session_id, "--why", "wrong folder", "--command-id", "a1")
    called = lived.call(*words)
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith(
        f"session {session_id}: aborted\n  its worker gets its next one at "
    )
    assert lived.call(*words).out == called.out
    shown = json.loads(lived.call("sessions", "show", session_id, "--json").out)
    assert (shown["status"], shown["why"]) == ("aborted", "wrong folder")
    assert shown["sealed"] is not None
    assert lived.call("audit").code == 0


def test_checkpoints_of_a_worker_that_nobody_knows_are_no_empty_list(lived: Site) -> None:
    called = lived.call("checkpoints", "digets")
    assert (called.code, called.out) == (64, "")
    assert "did you mean 'digest'?" in called.err
    assert lived.call("checkpoints", "triage").code == 0
