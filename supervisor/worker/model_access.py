"""A worker's way to models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Unpack

from supervisor.errors import InputRefused
from supervisor.governance.routing import CLASSES
from supervisor.worker.bidding import Question
from supervisor.worker.callers import CallerWords, parse_caller
from supervisor.worker.calls import Calls
from supervisor.worker.context_budget import Compact
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.prompts import Prompt, parse_prompt
from supervisor.worker.replies import Reply, ReplyStream
from supervisor.worker.routing import Routed, Wish, choose


class CallWords(CallerWords, total=False):
    """What else a model call may say: on whose behalf it is, and how its input may be shortened."""

    compact: Compact | None


class ModelAccess:
    """The worker's way to models: every call passes the gates and is held before it is sent."""

    def __init__(self, kernel: Kernel, plan: WorkerPlan, calls: Calls) -> None:
        self._kernel = kernel
        self._plan = plan
        self._calls = calls

    async def complete(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        purpose: str = "",
        **words: Unpack[CallWords],
    ) -> Reply:
        """Ask a model and return its whole answer.

        `prompt` is a text or a conversation of `{"role", "content"}`. `model` is
        `provider/model`, or a class (cheap, balanced, best) where the config has [routing]; the
        worker's own where it is left out. `max_tokens` bounds the answer; the provider's
        configured one where it is left out, and less where the budget is short. Where the model
        gives no answer, those of [worker.NAME] fallback are asked; `Reply.model` is who answered.
        `identity` (org, team, user) is on whose behalf it is, `conversation` in which one: their
        budgets apply. What the identity leaves out is the worker's own. `compact` is awaited with
        the messages and how many tokens they may have, where they are above [context].

        Raises:
            Refusal: a gate said no, the worst case did not fit, or the price is unknown.
            ProviderFailed: no try was answered.
        """
        question = await self._ask(prompt, model, max_tokens, purpose, words)
        return await self._calls.complete(question)

    @asynccontextmanager
    async def stream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        purpose: str = "",
        **words: Unpack[CallWords],
    ) -> AsyncIterator[ReplyStream]:
        """Ask a model and get its answer as it arrives.

        `async with ctx.model.stream(...) as stream:` then iterate over its pieces of text; after
        the last one `stream.reply` holds the whole. Arguments and errors as for `complete`.
        """
        question = await self._ask(prompt, model, max_tokens, purpose, words)
        async with self._calls.stream(question) as arriving:
            yield arriving

    async def _ask(
        self,
        prompt: Prompt,
        model: str | None,
        max_tokens: int | None,
        purpose: str,
        words: CallWords,
    ) -> Question:
        asked = model or self._plan.model
        with self._calls.recording_refusal(asked):
            messages = parse_prompt(prompt)
            caller = parse_caller(words, self._calls.caller)
            _check_length(max_tokens)
            wish = Wish(
                asked=asked,
                worker=self._plan.name,
                session_id=self._calls.session_id,
                messages=messages,
                max_tokens=max_tokens,
                purpose=purpose,
                caller=caller,
            )
            routed = await self._route(wish)
            chosen = (
                self._kernel.models.resolve(asked, self._kernel.clock.now())
                if routed is None
                else routed.model
            )
            return Question(
                model=chosen,
                messages=messages,
                max_tokens=chosen.max_tokens if max_tokens is None else max_tokens,
                purpose=purpose,
                caller=caller,
                compact=words.get("compact"),
                fallback=_behind(chosen.full_name, self._plan.fallback),
                is_length_given=max_tokens is not None,
                routed=None if routed is None else routed.event,
                best=None if routed is None else routed.best,
            )

    async def _route(self, wish: Wish) -> Routed | None:
        """Return the model of a class, None where a model was asked for by its name."""
        routing = self._kernel.policy.routing
        if routing is None or wish.asked not in CLASSES:
            return None
        return await choose(self._kernel, routing, wish)


def _behind(model: str, fallback: tuple[str, ...]) -> tuple[str, ...]:
    """Return the models that come after this one: all of them where it is none of them."""
    return fallback[fallback.index(model) + 1 :] if model in fallback else fallback


def _check_length(max_tokens: int | None) -> None:
    if max_tokens is not None and max_tokens < 1:
        what, fix = "is no length", "give 1 or more"
        raise InputRefused(subject=f"max_tokens {max_tokens}", what=what, fix=fix)
