"""A model provider that does what the seed says, and bills whether its answer arrives or not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import anyio
import msgspec

from supervisor.errors import ProviderFailed
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.pricing import Price
from supervisor.providers.http_errors import broken_stream, garbage_failure, status_failure
from supervisor.providers.provider import (
    AnswerStream,
    ModelAnswer,
    ModelRequest,
    Usage,
    bytes_bound,
)
from supervisor.simulation.fortune import Conduct
from supervisor.simulation.money_rules import Hold
from supervisor.simulation.vendor import Vendor
from supervisor.worker.models import Model, Models

_PER_MESSAGE_TOKENS = 8
_PIECES = 3
_NAME = "simulated"
_CACHED_ODDS = 0.3

_UNBILLED = frozenset({Conduct.UNREACHABLE, Conduct.RATE_LIMITED})
_SILENT = frozenset({Conduct.NO_USAGE, Conduct.CUT_OFF, Conduct.SERVER_ERROR, Conduct.GARBAGE})


class SimulatedModels(Models):
    """The config's models with their own prices, each answered for by the seed."""

    def __init__(self, real: Models, vendor: Vendor) -> None:
        super().__init__({})
        self._real = real
        self._vendor = vendor

    def resolve(self, full_name: str, at: datetime) -> Model:
        model = self._real.resolve(full_name, at)
        return replace(model, provider=SimulatedProvider(self._vendor, model.price))

    def cheapest(self, full_name: str, at: datetime, *, may_use: Callable[[Model], bool]) -> Model:
        model = self._real.cheapest(full_name, at, may_use=may_use)
        return replace(model, provider=SimulatedProvider(self._vendor, model.price))

    def is_free(self, full_name: str) -> bool:
        return self._real.is_free(full_name)

    async def close(self) -> None:
        """Nothing of a life is open; the real ones never were."""


class _Work(msgspec.Struct, frozen=True):
    """One call's work: what it met, and what it answers."""

    conduct: Conduct
    hold: Hold
    answer: ModelAnswer
    told: Amounts | None
    latency_s: float


class SimulatedProvider:
    """One try of a call to a model with this price."""

    def __init__(self, vendor: Vendor, price: Price) -> None:
        self._vendor = vendor
        self._price = price

    def input_tokens_max(self, request: ModelRequest) -> int:
        return bytes_bound(request, per_message_tokens=_PER_MESSAGE_TOKENS)

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        work = self._work(request)
        await anyio.sleep(work.latency_s)
        await self._fail_if_told(work)
        if work.conduct is Conduct.CUT_OFF:
            raise broken_stream(_NAME)
        self._tell(work)
        return work.answer

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AnswerStream]:
        work = self._work(request)
        await anyio.sleep(work.latency_s / _PIECES)
        await self._fail_if_told(work)
        yield _Stream(self, work)

    async def close(self) -> None:
        """Nothing is open."""

    def _work(self, request: ModelRequest) -> _Work:
        vendor = self._vendor
        tag = request.messages[0].content.partition(" ")[0]
        worker = tag.rpartition("#")[0]
        bound = self.input_tokens_max(request)
        cost = self._price.worst_micro_usd(
            input_tokens_max=bound, output_tokens_max=request.max_tokens
        )
        worst = Amounts(cost=cost, tokens=bound + request.max_tokens, actions=1)
        hold = vendor.take(worker, tag, worst)
        conduct, latency_s = vendor.fortune.conduct(), vendor.fortune.latency_s()
        used = self._used(request, bound, conduct)
        said = self._said(request, used, conduct)
        told = None if said is None else self._amounts(said)
        if conduct not in _UNBILLED:
            vendor.bill(hold, self._amounts(used), will_tell=told)
        answer = ModelAnswer(text="a " * 8, usage=said, model=request.model, finish_reason="stop")
        return _Work(conduct, hold, answer, told, latency_s)

    def _used(self, request: ModelRequest, bound: int, conduct: Conduct) -> Usage:
        chance = self._vendor.chance
        input_tokens = int(bound * chance.uniform(0.2, 0.95))
        cached = int(input_tokens * chance.random()) if chance.random() < _CACHED_ODDS else 0
        output_tokens = int(request.max_tokens * chance.uniform(0.05, 1.0))
        if conduct is Conduct.OVERRUN:
            output_tokens = request.max_tokens + chance.randint(1, request.max_tokens)
        return Usage(
            input_tokens=input_tokens, cache_read_tokens=cached, output_tokens=output_tokens
        )

    def _said(self, request: ModelRequest, used: Usage, conduct: Conduct) -> Usage | None:
        """Return the usage that the answer tells of, which need not be true."""
        if conduct in _SILENT:
            return None
        output_tokens = used.output_tokens
        if conduct is Conduct.OVERSTATED:
            output_tokens += self._vendor.chance.randint(1, request.max_tokens)
        if conduct is Conduct.UNDERSTATED:
            output_tokens //= 2
        return msgspec.structs.replace(used, output_tokens=output_tokens)

    def _amounts(self, usage: Usage) -> Amounts:
        cost = self._price.cost_micro_usd(usage)
        return Amounts(cost=cost, tokens=usage.total_tokens, actions=1)

    async def _fail_if_told(self, work: _Work) -> None:
        match work.conduct:
            case Conduct.HANG:
                await anyio.sleep_forever()
            case Conduct.SERVER_ERROR:
                raise status_failure(_NAME, status=500)
            case Conduct.GARBAGE:
                raise garbage_failure(_NAME, "a body that is no chat completion")
            case Conduct.RATE_LIMITED:
                after_s = self._vendor.chance.choice((None, 1.0, 20.0))
                raise status_failure(_NAME, status=429, retry_after_s=after_s)
            case Conduct.UNREACHABLE:
                raise ProviderFailed(
                    subject=f"provider {_NAME}",
                    what="no connection",
                    fix="wait",
                    was_refused=True,
                    is_retryable=True,
                )
            case _:
                return

    def _tell(self, work: _Work) -> None:
        if work.told is not None:
            self._vendor.tell(work.hold, work.told)


class _Stream:
    """An answer that arrives in pieces, with time between them."""

    def __init__(self, provider: SimulatedProvider, work: _Work) -> None:
        self._provider = provider
        self._work = work

    async def __aiter__(self) -> AsyncIterator[str]:
        for piece in range(_PIECES):
            await anyio.sleep(self._work.latency_s / _PIECES)
            if self._work.conduct is Conduct.CUT_OFF and piece == _PIECES - 1:
                raise broken_stream(_NAME)
            yield "a "
        self._provider._tell(self._work)  # noqa: SLF001 - two halves of one call

    @property
    def answer(self) -> ModelAnswer:
        return self._work.answer
