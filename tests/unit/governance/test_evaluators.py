"""Evaluators: asked together, the first no ends it, and whatever is no answer is a no."""

from __future__ import annotations

from typing import cast

import anyio
import pytest

from supervisor.governance.evaluators import (
    ALLOWED,
    Evaluator,
    ListEvaluator,
    RegexEvaluator,
    Verdict,
    ask,
    first_deny,
)
from supervisor.governance.proposals import Proposal

PROPOSAL = Proposal(
    action="post_comment",
    resource="issue:7",
    reasoning="please reset the password",
    risk_factors=("new",),
    metadata={"to": "ann@example.com"},
)


class Says:
    """Answers as a test tells it, after a while."""

    def __init__(self, verdict: object = ALLOWED, *, after_s: float = 0.0) -> None:
        self._verdict = verdict
        self._after_s = after_s
        self.was_cancelled = False
        self.has_answered = False

    async def evaluate(self, _: Proposal) -> Verdict:
        try:
            await anyio.sleep(self._after_s)
        except BaseException:
            self.was_cancelled = True
            raise
        self.has_answered = True
        if isinstance(self._verdict, Exception):
            raise self._verdict
        return cast("Verdict", self._verdict)


async def deny_of(**judges: Evaluator) -> Verdict | None:
    return await first_deny(list(judges), judges, PROPOSAL, timeout_s=5.0)


async def test_nobody_denies_what_all_allow() -> None:
    assert await deny_of() is None
    assert await deny_of(a=Says(), b=Says()) is None


async def test_the_first_no_cancels_the_rest() -> None:
    slow = Says(after_s=60.0)
    denied = await deny_of(slow=slow, no=Says(Verdict(is_allowed=False, why="never")))
    assert denied is not None
    assert denied.why == "evaluator no: never"
    assert slow.was_cancelled
    assert not slow.has_answered


async def test_they_are_asked_at_the_same_time() -> None:
    first, second = anyio.Event(), anyio.Event()

    class Meets:
        def __init__(self, mine: anyio.Event, other: anyio.Event) -> None:
            self._mine, self._other = mine, other

        async def evaluate(self, _: Proposal) -> Verdict:
            self._mine.set()
            await self._other.wait()
            return ALLOWED

    with anyio.fail_after(5):
        assert await deny_of(a=Meets(first, second), b=Meets(second, first)) is None


@pytest.mark.parametrize("answer", [ValueError("broken"), None, True, "yes", KeyError("x")])
async def test_an_exception_and_a_nonsense_are_a_no(answer: object) -> None:
    denied = await deny_of(a=Says(answer))
    assert denied is not None
    assert denied.has_failed
    assert "evaluator a" in denied.why


async def test_one_that_takes_too_long_is_a_no() -> None:
    verdict = await ask("a", {"a": Says(after_s=60.0)}, PROPOSAL, timeout_s=0.01)
    assert verdict.has_failed
    assert "0.01 s" in verdict.why


@pytest.mark.parametrize(
    ("field", "deny", "allow", "is_allowed"),
    [
        ("reasoning", ["password"], [], False),
        ("reasoning", ["passwort"], [], True),
        ("action", ["password"], [], True),
        ("any", ["example\\.com"], [], False),
        ("metadata", ['"to"'], [], False),
        ("resource", [], ["^issue:"], True),
        ("resource", [], ["^pr:"], False),
        ("resource", ["7$"], ["^issue:"], False),
    ],
)
async def test_regex(field: str, deny: list[str], allow: list[str], is_allowed: bool) -> None:
    verdict = await RegexEvaluator(field=field, deny=deny, allow=allow).evaluate(PROPOSAL)
    assert verdict.is_allowed is is_allowed
    assert is_allowed or verdict.why


@pytest.mark.parametrize(
    ("field", "block", "allow", "is_allowed"),
    [
        ("action", ["post_comment"], [], False),
        ("action", ["merge"], [], True),
        ("action", [], ["post_comment"], True),
        ("action", [], ["merge"], False),
        ("action", ["post_comment"], ["post_comment"], False),  # the blocklist wins
        ("risk_factors", [], ["new", "old"], True),
        ("risk_factors", ["new"], [], False),
    ],
)
async def test_list(field: str, block: list[str], allow: list[str], is_allowed: bool) -> None:
    verdict = await ListEvaluator(field=field, block=block, allow=allow).evaluate(PROPOSAL)
    assert verdict.is_allowed is is_allowed


async def test_a_list_allows_no_empty_answer() -> None:
    bare = Proposal(action="tag")
    listed = ListEvaluator(field="risk_factors", block=[], allow=["new"])
    assert not (await listed.evaluate(bare)).is_allowed
