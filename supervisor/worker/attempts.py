"""A model call: tried as often as its provider allows, then asked of the models behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
import msgspec

from supervisor.backoff import delay_s
from supervisor.errors import (
    BreakerOpen,
    BudgetExceeded,
    ModelAccessDenied,
    PriceUnknown,
    ProviderFailed,
    SupervisorError,
)
from supervisor.events import model_kinds
from supervisor.governance.breaker import provider_breaker, provider_of
from supervisor.worker.bidding import Question
from supervisor.worker.models import Model, Rest
from supervisor.worker.plan import Kernel

_RETRY_FACTOR = 2.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _NoAnswer:
    """A model that gave no answer, and why."""

    model: str
    error: SupervisorError


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts(Generic[T]):
    """How a call is made: `once` tries it under a hold of its own.

    `recording` is a block that records a refusal of a model that could not even be asked.
    """

    kernel: Kernel
    worker: str
    once: Callable[[Question], Awaitable[T]]
    recording: Callable[[str], AbstractContextManager[None]]

    async def ask(self, question: Question) -> T:
        """Return the first answer: of the question's model, else of those behind it, in order.

        What says no to every model (a kill, the session, the worker's own breaker, an input that
        can't be bounded) is raised at once, and so is a model that the caller may not use.

        Raises:
            Refusal: the gates, or the caps, let none of the models be asked.
            ProviderFailed: one of them was asked, and none has answered.
        """
        failed: list[_NoAnswer] = []
        for name in (question.model.full_name, *question.fallback):
            try:
                asked = self._fallen(question, name, failed[-1]) if failed else question
                return await self._try_often(asked)
            except SupervisorError as error:
                if not _is_of_this_model(error, name, is_first=not failed):
                    raise
                failed.append(_NoAnswer(model=name, error=error))
        raise _told(failed)

    def _fallen(self, question: Question, name: str, before: _NoAnswer) -> Question:
        with self.recording(name):
            model = self.kernel.models.resolve(name, self.kernel.clock.now())
        fell = model_kinds.ModelFellBack(
            worker=self.worker,
            asked=question.model.full_name,
            model=name,
            code=before.error.code,
            why=f"{before.model}: {before.error.subject}: {before.error.what}",
        )
        max_tokens = question.max_tokens if question.is_length_given else model.max_tokens
        return msgspec.structs.replace(
            question, model=model, max_tokens=max_tokens, routed=None, fell=fell
        )

    async def _try_often(self, question: Question) -> T:
        model = question.model
        self._check_rest(model)
        for attempt in range(1, model.attempts_max + 1):
            try:
                return await self.once(question)
            except ProviderFailed as error:
                if _asks_for_too_long(model, error):
                    self._leave_alone(model, error)
                    raise
                if attempt == model.attempts_max or not error.is_retryable:
                    raise
                await anyio.sleep(self._delay_s(model, attempt, error))
        raise AssertionError(f"model {model.full_name} allows no attempt")

    def _leave_alone(self, model: Model, error: ProviderFailed) -> None:
        until_s = self.kernel.clock.monotonic() + (error.retry_after_s or 0.0)
        rest = Rest(until_s=until_s, why=error.what)
        self.kernel.models.leave_alone(model.full_name, rest)

    def _check_rest(self, model: Model) -> None:
        """Send nothing of a model whose provider wants it left alone for longer than a call waits.

        Raises:
            ProviderFailed: it does, and the time is not over.
        """
        now_s = self.kernel.clock.monotonic()
        rest = self.kernel.models.rest_of(model.full_name, now_s)
        if rest is None:
            return
        left_s = rest.until_s - now_s
        name = provider_of(model.full_name)
        raise ProviderFailed(
            subject=f"provider {name}",
            what=f"{model.name} is left alone for another {left_s:.0f} s, as it asked: {rest.why}",
            fix="wait, raise the limit at the provider, or name a fallback; a reload asks it again",
            was_refused=True,
            retry_after_s=left_s,
        )

    def _delay_s(self, model: Model, attempt: int, error: ProviderFailed) -> float:
        own_s = delay_s(
            attempt,
            first_s=model.retry_delay_s,
            max_s=model.retry_delay_max_s,
            factor=_RETRY_FACTOR,
            chance=self.kernel.chance,
        )
        return max(own_s, error.retry_after_s or 0.0)


def _asks_for_too_long(model: Model, error: ProviderFailed) -> bool:
    """Return whether the provider wants to be left alone for longer than a call may wait."""
    return (error.retry_after_s or 0.0) > model.retry_after_max_s


def _is_of_this_model(error: SupervisorError, model: str, *, is_first: bool) -> bool:
    """Return whether another model may still answer."""
    match error:
        case ProviderFailed() | BudgetExceeded():
            return True
        case BreakerOpen(name=name):
            return name == provider_breaker(provider_of(model))
        case PriceUnknown() | ModelAccessDenied():
            # Of the model that was asked for, this is nothing that passes: somebody has to know.
            return not is_first
        case _:
            return False


def _told(failed: Sequence[_NoAnswer]) -> SupervisorError:
    """Return what the worker is told where no model has answered.

    It goes by what may be over the soonest, as the worker waits by it: a provider may answer the
    next tick, a breaker lets a probe through in minutes, a cap is there until its period ends.
    """
    errors = [one.error for one in failed]
    failures = [error for error in errors if isinstance(error, ProviderFailed)]
    if failures:
        return failures[0] if len(failed) == 1 else _none_answered(failed, failures)
    opened = [error for error in errors if isinstance(error, BreakerOpen)]
    return min(opened, key=lambda error: error.retry_at) if opened else errors[0]


def _none_answered(
    failed: Sequence[_NoAnswer], failures: Sequence[ProviderFailed]
) -> ProviderFailed:
    waits_s = [error.retry_after_s for error in failures if error.retry_after_s is not None]
    return ProviderFailed(
        subject=f"model {failed[0].model} and its fallback",
        what="none answered: "
        + "; ".join(f"{one.model}: {one.error.subject}: {one.error.what}" for one in failed),
        fix=failures[0].fix,
        was_refused=all(error.was_refused for error in failures),
        is_retryable=any(error.is_retryable for error in failures),
        retry_after_s=min(waits_s) if len(waits_s) == len(failed) else None,
    )
