"""What stands in for every worker's code: calls, state and misfortune, as the seed says."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from supervisor.errors import ProviderFailed, Refusal
from supervisor.ledger.accounts import Amounts
from supervisor.money import to_usd
from supervisor.outcome import Outcome
from supervisor.simulation.faults import FaultKind
from supervisor.simulation.vendor import Vendor
from supervisor.simulation.virtual_time import create_task_group
from supervisor.worker.context import Context
from supervisor.worker.plan import WorkerFunction

_CALLS = (0, 1, 1, 1, 2, 3)
_GREEDY_CALLS = 8
_OUTPUT_MIN = 64
_PROMPT_MAX = 2_000
_TOKENS_MAX = 500

_RAISES, _HANGS = 0.01, 0.005
_LEAVES_A_NOTE = 0.1
_CATCHES = 0.5
_LEAVES_EARLY = 0.05
_SENDS_NOTHING, _GETS_NO_ANSWER, _SAYS_NOTHING = 0.05, 0.05, 0.1

Act = Callable[[], Awaitable[None]]


class Misfortune(Exception):
    """What a worker's own code raises when the seed says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What the code of one worker does. `output_max` is its model's `max_tokens`."""

    vendor: Vendor
    seed: str
    has_model: bool
    output_max: int
    spend_max_micro_usd: int
    has_mishaps: bool

    def function(self) -> WorkerFunction:
        """Return the worker's coroutine function."""

        async def run(ctx: Context) -> Outcome | None:
            return await _Tick(self, ctx).run()

        return run


class _Tick:
    """One tick's work. Its chance is of its own, so that no other worker changes what it does."""

    def __init__(self, script: Script, ctx: Context) -> None:
        self._script = script
        self._ctx = ctx
        self._chance = random.Random(f"{script.seed}/{ctx.name}/{ctx.tick}")  # noqa: S311 - a seed's
        self._acts = 0

    async def run(self) -> Outcome | None:
        ctx, chance, vendor = self._ctx, self._chance, self._script.vendor
        done = ctx.state.get("ticks", 0)
        assert isinstance(done, int), done
        vendor.check_state(ctx.name, done)
        count = chance.choice(_CALLS)
        if vendor.fortune.is_on(FaultKind.GREED):
            count += _GREEDY_CALLS
        for _ in range(count):
            await self._act()
        ctx.state["ticks"] = done + 1
        await self._misfortune()
        if self._happens(_LEAVES_A_NOTE):
            ctx.handoff(f"after tick {ctx.tick}")
        vendor.work.end_work(ctx.name, ctx.tick, done + 1)
        return chance.choice((None, Outcome.OK, Outcome.NOOP, Outcome.UNKNOWN, Outcome.FAILED))

    def _happens(self, odds: float) -> bool:
        return self._chance.random() < odds

    async def _misfortune(self) -> None:
        script = self._script
        is_bad = script.vendor.fortune.is_on(FaultKind.BAD_WORKER)
        if is_bad or (script.has_mishaps and self._happens(_RAISES)):
            script.vendor.fortune.struck["worker_raises"] += 1
            raise Misfortune(f"in tick {self._ctx.tick}")
        if script.has_mishaps and self._happens(_HANGS):
            script.vendor.fortune.struck["worker_hangs"] += 1
            await anyio.sleep_forever()

    async def _act(self) -> None:
        acts: list[Act] = [self._spend]
        if self._script.has_model:
            acts += [self._complete, self._complete, self._stream, self._both]
        act = self._chance.choice(acts)
        is_careful = self._happens(_CATCHES)
        try:
            await act()
        except (Refusal, ProviderFailed):
            if not is_careful:
                raise

    def _tag(self) -> str:
        self._acts += 1
        return f"{self._ctx.name}#{self._ctx.tick}/{self._acts}"

    def _prompt(self, tag: str) -> str:
        return f"{tag} {'x' * self._chance.randint(1, _PROMPT_MAX)}"

    def _output(self) -> int | None:
        most = self._script.output_max
        return self._chance.choice((None, most, max(_OUTPUT_MIN, most // 4)))

    async def _complete(self) -> None:
        tag = self._tag()
        prompt, output = self._prompt(tag), self._output()
        await self._ctx.model.complete(prompt, max_tokens=output, purpose=tag)

    async def _both(self) -> None:
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(self._complete)
                tasks.start_soon(self._complete)
        except* (Refusal, ProviderFailed) as errors:
            raise errors.exceptions[0] from None

    async def _stream(self) -> None:
        tag = self._tag()
        prompt, output = self._prompt(tag), self._output()
        is_left_early = self._happens(_LEAVES_EARLY)
        async with self._ctx.model.stream(prompt, max_tokens=output, purpose=tag) as stream:
            async for _ in stream:
                if is_left_early:
                    return

    async def _spend(self) -> None:
        script, chance, vendor = self._script, self._chance, self._script.vendor
        tag, ctx = self._tag(), self._ctx
        cost = chance.randint(0, script.spend_max_micro_usd)
        worst = Amounts(cost=cost, tokens=chance.randint(0, _TOKENS_MAX), actions=1)
        actual = Amounts(
            cost=chance.randint(0, cost), tokens=chance.randint(0, worst.tokens), actions=1
        )
        is_silent = self._happens(_SAYS_NOTHING)
        told = worst if is_silent else actual
        async with ctx.spend(usd_max=to_usd(cost), what=tag, tokens_max=worst.tokens) as paid:
            if self._happens(_SENDS_NOTHING):
                paid.release()
                return
            is_lost = self._happens(_GETS_NO_ANSWER)
            hold = vendor.take(ctx.name, tag, worst)
            vendor.bill(hold, actual, will_tell=None if is_lost else told)
            await anyio.sleep(vendor.fortune.latency_s())
            if is_lost:
                raise ProviderFailed(subject="errand", what="no answer came", fix="wait")
            vendor.tell(hold, told)
            if not is_silent:
                paid.settle(usd=to_usd(actual.cost), tokens=actual.tokens)
