"""Judges of a proposal that a config names: a protocol, two builtin ones, all asked together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import anyio
import msgspec

from supervisor.errors import text_of
from supervisor.governance.proposals import Proposal

#: Where other distributions register theirs: a callable that takes the options of the config.
ENTRY_POINTS = "supervisor.evaluators"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluator's answer; `has_failed` says that it is no answer, which counts as a no."""

    is_allowed: bool
    why: str = ""
    has_failed: bool = False


class Evaluator(Protocol):
    """Judges a proposal; it may call out, within `evaluator_timeout_s`."""

    async def evaluate(self, proposal: Proposal) -> Verdict:
        """Return whether the action may go on; an exception is a no."""
        ...


ALLOWED = Verdict(is_allowed=True)


class RegexEvaluator:
    """Denies what matches one of `deny`, or, where there is an `allow`, none of that."""

    def __init__(self, *, field: str, deny: Sequence[str], allow: Sequence[str]) -> None:
        """Raises: re.error for a pattern that is none."""
        self._field = field
        self._deny = [re.compile(pattern) for pattern in deny]
        self._allow = [re.compile(pattern) for pattern in allow]

    async def evaluate(self, proposal: Proposal) -> Verdict:
        """Look for the patterns in each text; a denied one wins."""
        texts = texts_of(proposal, self._field)
        for pattern in self._deny:
            if any(pattern.search(text) for text in texts):
                why = f"{self._field} matches {pattern.pattern!r}"
                return Verdict(is_allowed=False, why=why)
        if self._allow and not any(p.search(text) for p in self._allow for text in texts):
            return Verdict(is_allowed=False, why=f"{self._field} matches nothing that is allowed")
        return ALLOWED


class ListEvaluator:
    """Denies what is on `block`, and, where there is an `allow`, what is not on that."""

    def __init__(self, *, field: str, block: Sequence[str], allow: Sequence[str]) -> None:
        self._field = field
        self._block = frozenset(block)
        self._allow = frozenset(allow)

    async def evaluate(self, proposal: Proposal) -> Verdict:
        """Look each text up; the blocklist wins over the other."""
        texts = texts_of(proposal, self._field)
        blocked = [text for text in texts if text in self._block]
        if blocked:
            return Verdict(is_allowed=False, why=f"{self._field} {blocked[0]!r} is blocked")
        missing = [text for text in texts if text not in self._allow]
        if self._allow and (missing or not texts):
            what = repr(missing[0]) if missing else "(none)"
            return Verdict(is_allowed=False, why=f"{self._field} {what} is not allowed")
        return ALLOWED


def texts_of(proposal: Proposal, field: str) -> list[str]:
    """Return what of the proposal a field means, as texts."""
    metadata = msgspec.json.encode(proposal.metadata, order="sorted").decode()
    texts: dict[str, list[str]] = {
        "action": [proposal.action],
        "resource": [proposal.resource],
        "reasoning": [proposal.reasoning],
        "risk_factors": list(proposal.risk_factors),
        "metadata": [metadata],
    }
    return texts[field] if field != "any" else [text for part in texts.values() for text in part]


async def ask(
    name: str, evaluators: Mapping[str, Evaluator], proposal: Proposal, *, timeout_s: float
) -> Verdict:
    """Return one evaluator's verdict: a no where it raises, takes too long or answers nonsense."""
    answer: object = None
    try:
        with anyio.move_on_after(timeout_s) as scope:
            answer = await evaluators[name].evaluate(proposal)
    except Exception as error:  # noqa: BLE001 - somebody else's code: an exception is a deny
        why = f"evaluator {name} failed: {type(error).__name__}: {text_of(error)}"
        return Verdict(is_allowed=False, why=why, has_failed=True)
    if scope.cancelled_caught:
        why = f"evaluator {name} did not answer within {timeout_s:g} s"
        return Verdict(is_allowed=False, why=why, has_failed=True)
    if not isinstance(answer, Verdict):
        why = f"evaluator {name} answered {type(answer).__name__}"
        return Verdict(is_allowed=False, why=why, has_failed=True)
    if answer.is_allowed:
        return answer
    return msgspec.structs.replace(answer, why=f"evaluator {name}: {answer.why or 'no'}")


async def first_deny(
    names: Sequence[str],
    evaluators: Mapping[str, Evaluator],
    proposal: Proposal,
    *,
    timeout_s: float,
) -> Verdict | None:
    """Ask all of them at the same time and return the first no, which cancels the rest.

    None means that all of them allow it.
    """
    denied: list[Verdict] = []

    async with anyio.create_task_group() as tasks:

        async def ask_one(name: str) -> None:
            verdict = await ask(name, evaluators, proposal, timeout_s=timeout_s)
            if not verdict.is_allowed:
                denied.append(verdict)
                tasks.cancel_scope.cancel()

        for name in names:
            tasks.start_soon(ask_one, name)
    return denied[0] if denied else None
