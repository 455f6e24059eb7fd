"""A worker's way to models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Unpack

import msgspec

from supervisor.errors import InputRefused
from supervisor.providers.provider import Message
from supervisor.worker.bidding import Question
from supervisor.worker.callers import CallerWords, parse_caller
from supervisor.worker.calls import Calls
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.replies import Reply, ReplyStream

_MESSAGES_MAX = 1_000

Prompt = str | Sequence[Message | Mapping[str, str]]


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
        **caller: Unpack[CallerWords],
    ) -> Reply:
        """Ask a model and return its whole answer.

        `prompt` is a text or a conversation of `{"role", "content"}`. `model` is
        `provider/model`, the worker's own where it is left out. `max_tokens` bounds the answer;
        the provider's configured one where it is left out, and less where the budget is short.
        `identity` (org, team, user) is on whose behalf it is, `conversation` in which one: their
        budgets apply. What the identity leaves out is the worker's own.

        Raises:
            Refusal: a gate said no, the worst case did not fit, or the price is unknown.
            ProviderFailed: no try was answered.
        """
        question = self._ask(prompt, model, max_tokens, purpose, caller)
        return await self._calls.complete(question)

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        purpose: str = "",
        **caller: Unpack[CallerWords],
    ) -> AbstractAsyncContextManager[ReplyStream]:
        """Ask a model and get its answer as it arrives.

        `async with ctx.model.stream(...) as stream:` then iterate over its pieces of text; after
        the last one `stream.reply` holds the whole. Arguments and errors as for `complete`.
        """
        question = self._ask(prompt, model, max_tokens, purpose, caller)
        return self._calls.stream(question)

    def _ask(
        self,
        prompt: Prompt,
        model: str | None,
        max_tokens: int | None,
        purpose: str,
        caller: CallerWords,
    ) -> Question:
        full_name = model or self._plan.model
        with self._calls.recording_refusal(full_name):
            chosen = self._kernel.models.resolve(full_name, self._kernel.clock.now())
            return Question(
                model=chosen,
                messages=parse_prompt(prompt),
                max_tokens=_tokens(max_tokens, chosen.max_tokens),
                purpose=purpose,
                caller=parse_caller(caller, self._calls.caller),
            )


def parse_prompt(prompt: Prompt) -> tuple[Message, ...]:
    """Return the conversation that `prompt` is.

    Raises:
        InputRefused: it is empty, or holds anything but text.
    """
    if isinstance(prompt, str):
        return (Message(role="user", content=prompt),)
    try:
        messages = msgspec.convert(list(prompt), list[Message], from_attributes=True)
    except (msgspec.ValidationError, TypeError) as error:
        raise InputRefused(
            subject="prompt",
            what=f"is not a text or a list of messages: {error}",
            fix='give {"role": "user", "content": TEXT}; images and files can\'t be bounded yet',
        ) from error
    if not 0 < len(messages) <= _MESSAGES_MAX:
        raise InputRefused(
            subject="prompt",
            what=f"has {len(messages)} messages",
            fix=f"give 1 to {_MESSAGES_MAX}",
        )
    return tuple(messages)


def _tokens(asked: int | None, configured: int) -> int:
    if asked is None:
        return configured
    if asked < 1:
        raise InputRefused(subject=f"max_tokens {asked}", what="is no length", fix="give 1 or more")
    return asked
