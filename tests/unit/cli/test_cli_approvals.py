"""`approvals` lists what waits for a person, and takes the decision, once."""

from __future__ import annotations

import json

import pytest

from supervisor.worker.context import Context
from tests.contract.policy_bench import SURE, PolicyBench
from tests.unit.cli.site import Site
from tests.unit.governance.recorded_life import RecordedLife


def ask(site: Site, *, number: int = 1) -> list[str]:
    """Let a worker ask to merge, so often, and return its tickets."""

    async def story(life: RecordedLife) -> list[str]:
        async def work(ctx: Context) -> None:
            for _ in range(number):
                await ctx.propose("merge", reasoning="\x1b[2J tests pass", cost_usd=0.01, **SURE)

        bench = PolicyBench(life.store, life.clock, site.folder)
        await bench.tick_end(work, name="triage")
        return [str(event["ticket"]) for event in await bench.events("approval_requested")]

    return site.live(story)


def kill(site: Site, *, is_engaged: bool = True) -> None:
    async def story(life: RecordedLife) -> None:
        await life.kill("worker:triage", is_engaged=is_engaged)

    site.live(story)


def test_what_waits_is_listed_and_what_is_decided_only_with_all(site: Site) -> None:
    first, second = ask(site, number=2)
    assert site.call("approvals", "deny", first).code == 0
    called = site.call("approvals")
    assert (called.code, called.err) == (0, "")
    assert second in called.out
    assert first not in called.out
    assert max(map(len, called.out.splitlines())) <= 100
    listed = json.loads(site.call("approvals", "--all", "--json").out)
    assert {one["id"]: one["status"] for one in listed["approvals"]} == {
        first: "denied",
        second: "pending",
    }


def test_show_tells_what_the_agent_wants_without_letting_it_draw(site: Site) -> None:
    (ticket,) = ask(site)
    called = site.call("approvals", "show", ticket)
    assert called.code == 0
    assert "\x1b" not in called.out
    assert "tests pass" in called.out
    assert "decided at        -" in called.out
    assert "null" not in called.out
    facts = json.loads(site.call("approvals", "show", ticket, "--json").out)
    assert (facts["action"], facts["resource"], facts["cost_usd"]) == ("merge", "issue:7", 0.01)


def test_a_decision_has_its_actor_and_its_reason_in_the_record(site: Site) -> None:
    first, second = ask(site, number=2)
    told = site.call("approvals", "approve", first, "--actor", "bob", "--why", "looked at it")
    assert told.code == 0
    assert told.out == f"ticket {first}: approved once: merge issue:7, for worker triage\n"
    site.call("approvals", "deny", second, "--why", "not now")
    facts = [json.loads(site.call("approvals", "show", t, "--json").out) for t in (first, second)]
    assert [(one["decided_by"], one["decision_why"]) for one in facts] == [
        ("bob", "looked at it"),
        ("alice", "not now"),
    ]


def test_a_ticket_is_decided_once_and_a_repeated_command_is_one(site: Site) -> None:
    (ticket,) = ask(site)
    words = ("approvals", "approve", ticket, "--command-id", "c-1", "--why", "x", "--json")
    assert site.call(*words).out == site.call(*words).out
    other = site.call("approvals", "approve", ticket, "--command-id", "c-1", "--why", "y")
    assert other.code == 1
    assert "with why 'x', now with 'y'" in other.err
    for act in ("approve", "deny"):
        late = site.call("approvals", act, ticket)
        assert late.code == 1
        assert "error[illegal_move]" in late.err
        assert "is approved (alice" in late.err


def test_an_approval_for_the_session_takes_its_limits(site: Site) -> None:
    (ticket,) = ask(site)
    limits = ("--resources", "issue:*, pr:1", "--count", "3", "--cost", "0.50", "--expires", "2h")
    called = site.call("approvals", "approve", ticket, "--for-session", *limits)
    assert (
        called.out
        == f"ticket {ticket}: approved for the session: merge issue:7, for worker triage\n"
    )
    events = site.call("events", "--kind", "approval_granted", "--json").out
    payload = json.loads(events)["payload"]
    assert (payload["resources"], payload["count_max"]) == (["issue:*", "pr:1"], 3)
    assert payload["cost_max"] == 500_000


@pytest.mark.parametrize(
    "words",
    [
        ("grant",),
        ("approve",),
        ("show",),
        ("list", "t-1"),
        ("approve", "t-1", "--count", "3"),
        ("deny", "t-1", "--for-session"),
        ("approve", "t-1", "--for-session", "--count", "0"),
        ("approve", "t-1", "--for-session", "--cost", "-1"),
        ("approve", "t-1", "--for-session", "--cost", "nan"),
        ("approve", "t-1", "--for-session", "--expires", "soon"),
        ("approve", "t-1", "--for-session", "--expires", "9999999d"),
        ("approve", "t-none"),
    ],
)
def test_words_that_do_not_fit_decide_nothing(site: Site, words: tuple[str, ...]) -> None:
    ask(site)
    called = site.call("approvals", *words)
    assert called.code == 64
    assert called.err.startswith(("error[usage]", "error[not_found]"))


def test_under_a_kill_nothing_is_approved(site: Site) -> None:
    (ticket,) = ask(site)
    kill(site)
    called = site.call("approvals", "approve", ticket)
    assert called.code == 1
    assert "error[kill_switch_engaged]" in called.err
    kill(site, is_engaged=False)
    assert site.call("approvals", "approve", ticket).code == 0


def test_status_shows_how_many_wait(site: Site) -> None:
    ask(site, number=2)
    assert "approvals: 2 waiting for a person" in site.call("status").out
    waiting = json.loads(site.call("status", "--json").out)["approvals"]
    assert waiting["pending"] == 2
    assert waiting["next_deadline_at"].endswith("Z")
