"""A tick's paid calls: each under a hold of its own that ends exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import anyio
import anyio.lowlevel
import msgspec
from msgspec.structs import replace

from supervisor.errors import Refusal, StoreUnavailable
from supervisor.events import model_kinds
from supervisor.events.log import Origin
from supervisor.governance.breakers import Fault
from supervisor.governance.executions import begin_execution
from supervisor.governance.proposals import execution_hold_id
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.hold_rows import call_hold_id
from supervisor.ledger.holds import Hold, HoldRequest, HoldStatus, Metering
from supervisor.money import to_usd
from supervisor.providers.provider import ModelAnswer, ModelRequest
from supervisor.worker import placing
from supervisor.worker.attempts import Attempts
from supervisor.worker.bidding import Question, bid_for, cheapest, request_of
from supervisor.worker.call_blocks import Ending, RecordingRefusal
from supervisor.worker.callers import Caller
from supervisor.worker.context_budget import ContextBudget, fit, record_compaction
from supervisor.worker.models import Model
from supervisor.worker.own_probe import OwnProbe
from supervisor.worker.placing import AskAsProbe, Bid, Granted, HoldEnd, WaitForProbe
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.replies import Reply, ReplyStream
from supervisor.worker.streak import Streak, Streaks, fingerprint

T = TypeVar("T")
_NOTHING = Amounts()


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    model: Model
    hold: Hold
    request: ModelRequest
    best: Model | None
    began_s: float


class Calls:
    """Places and ends the holds of one tick. Written only by that tick's task."""

    def __init__(self, kernel: Kernel, plan: WorkerPlan, *, tick: int, session_id: str) -> None:
        self.caller = Caller(identity=plan.identity)
        self._context = ContextBudget(kernel.database, kernel.policy.context, session_id)
        self._kernel = kernel
        self._worker = plan.name
        self._tick = tick
        self.session_id = session_id
        self._count = 0
        self._open: set[str] = set()
        self._watched: set[str] = set()
        self._ends: list[HoldEnd] = []
        self._written: list[Awaitable[object]] = []
        self._probe = OwnProbe()
        self._streaks = Streaks(Streak())
        self.is_watched = True

    def go_on(self, streak: Streak, *, is_watched: bool) -> None:
        """Begin with the worker's last call, and with what the breakers knew of the tick."""
        self._streaks, self.is_watched = Streaks(streak), is_watched

    @property
    def streak(self) -> Streak:
        """The streak with which the worker's next tick begins."""
        return self._streaks.paid

    def origin(self, command_id: str = "") -> Origin:
        """Return the origin of an event that this tick makes now."""
        return Origin(
            at=self._kernel.clock.now(),
            actor=f"worker:{self._worker}",
            correlation_id=f"{self._worker}#{self._tick}",
            command_id=command_id,
        )

    async def complete(self, question: Question) -> Reply:
        """Call a model, and those behind it, trying as `Attempts` says, each try under its hold.

        Raises:
            Refusal: a gate said no, or the worst case did not fit; nothing was sent.
            ProviderFailed: the last try failed.
        """
        return await self._attempts(self._try).ask(question)

    def _attempts(self, once: Callable[[Question], Awaitable[T]]) -> Attempts[T]:
        return Attempts(
            kernel=self._kernel, worker=self._worker, once=once, recording=self.recording_refusal
        )

    async def _try(self, question: Question) -> Reply:
        call = await self._place_call(question)
        with Ending(self, call.hold):
            answer = await call.model.provider.complete(call.request)
            return self._conclude(call, answer)

    @asynccontextmanager
    async def stream(self, question: Question) -> AsyncIterator[ReplyStream]:
        """Call a model and give its answer as it arrives.

        It is tried as `complete` does until the first of its text has come, and never after it:
        the worker has seen that. A stream that is left before its end is forfeited: what it cost
        is not known.

        Raises:
            Refusal, ProviderFailed: as for `complete`.
        """
        opened, reply = await self._attempts(self._open_stream).ask(question)
        async with opened:
            yield reply

    async def _open_stream(self, question: Question) -> tuple[AsyncExitStack, ReplyStream]:
        """Return a stream whose first text has come, and what is left to be closed after it."""
        call = await self._place_call(question)
        async with AsyncExitStack() as opened:
            opened.enter_context(Ending(self, call.hold))
            arriving = await opened.enter_async_context(call.model.provider.stream(call.request))
            reply = ReplyStream(arriving, lambda: self._conclude(call, arriving.answer))
            await reply.begin()
            return opened.pop_all(), reply

    async def _place_call(self, question: Question) -> _Call:
        question, bound = await self._bounded(question)
        with self._context.taking(bound) as taking:
            granted = await self._ask_for(question)
            if isinstance(granted, AskAsProbe):
                # A probe may fail: it is made as cheap as it can be.
                question = cheapest(self._kernel, question)
                granted = await self._ask_for(question, is_cheapest=True)
                assert isinstance(granted, Granted), f"the cheapest call there is got {granted!r}"
            taking.name(granted.hold.id)
        self._streaks.begin(granted.hold.id)
        model, asked = question.model, request_of(question)
        return _Call(
            model=model,
            hold=granted.hold,
            best=question.best,
            request=replace(asked, max_tokens=granted.output_tokens_max),
            began_s=self._kernel.clock.monotonic(),
        )

    async def _bounded(self, question: Question) -> tuple[Question, int]:
        """Return the question as it is to be sent, and a bound on its input, 0 if none is set."""
        if not self._context.is_on:
            return question, 0
        model = question.model
        with self.recording_refusal(model.full_name):
            asked = request_of(question)
            fitting, before, after = await fit(self._context, model, asked, question.compact)
        if fitting is not asked:
            shorter = model_kinds.ContextCompacted(
                worker=self._worker, model=model.full_name, before=before, after=after
            )
            write, where = self._kernel.database.write, self.session_id
            self.keep(write(record_compaction, where, shorter, self.origin()))
        return replace(question, messages=fitting.messages), after

    async def _ask_for(
        self, question: Question, *, is_cheapest: bool = False
    ) -> Granted | AskAsProbe:
        model = question.model.full_name
        with self.recording_refusal(model):
            bid = bid_for(self._kernel, question, is_cheapest=is_cheapest)
        amounts, what = bid.amounts(question.max_tokens), question.purpose
        request = self._next(question.caller, model=model, what=what, amounts=amounts)
        return await self._place(request, bid)

    def keep(self, writing: Awaitable[object]) -> None:
        """Take a write that is on its way: `flush`, and so the tick's end, waits for it."""
        self._written.append(writing)

    def recording_refusal(self, model: str) -> RecordingRefusal:
        """Return a block that records a refusal that is raised before a hold is asked for."""
        return RecordingRefusal(self, model)

    def record_refusal(self, model: str, refusal: Refusal) -> None:
        """Record a refusal of a call for which no hold was asked."""
        where = (self.session_id, self._worker, model)
        self._written.append(
            self._kernel.database.write(placing.record_refusal, *where, refusal, self.origin())
        )

    async def place(self, *, what: str, amounts: Amounts, caller: Caller) -> Granted:
        """Pass the gates and place the hold of a call of no model.

        Raises:
            Refusal: a gate said no, or the worst case did not fit.
            StoreUnavailable: the hold could not be written, so there is no call.
        """
        placed = await self._place(self._next(caller, what=what, amounts=amounts), None)
        assert isinstance(placed, Granted), f"a call of no model got {placed!r}"
        return placed

    def _next(self, caller: Caller, *, model: str = "", what: str, amounts: Amounts) -> HoldRequest:
        self._count += 1
        hold_id = call_hold_id(self._worker, self._tick, self._count)
        return self._request(hold_id, caller, model=model, what=what, amounts=amounts)

    async def _place(self, request: HoldRequest, bid: Bid | None) -> Granted | AskAsProbe:
        while True:
            self._write_ends()
            # Shielded: a cancel in between would leave a hold of which this task does not know.
            with anyio.CancelScope(shield=True):
                placed = await self._ask(request, bid)
            if not isinstance(placed, WaitForProbe):
                break
            await self._probe.wait(placed.hold)
        if isinstance(placed, Refusal):
            self.is_watched = True
            raise placed
        if isinstance(placed, AskAsProbe):
            return placed
        self._open.add(placed.hold.id)
        if placed.is_watched:
            self._watched.add(placed.hold.id)
            self.is_watched = True
        if placed.is_probe:
            self._probe.begin(placed.hold.id)
        await self._give_back_if_cancelled(placed.hold)
        return placed

    def _ask(
        self, request: HoldRequest, bid: Bid | None
    ) -> Awaitable[Granted | AskAsProbe | WaitForProbe | Refusal]:
        return self._kernel.database.write(
            placing.place,
            request,
            bid,
            self._kernel.policy.budgets,
            self.origin(request.id),
            self._probe.inside,
        )

    def _request(
        self,
        hold_id: str,
        caller: Caller,
        *,
        model: str = "",
        what: str = "",
        amounts: Amounts = _NOTHING,
    ) -> HoldRequest:
        return HoldRequest(
            id=hold_id,
            boot_id=self._kernel.boot_id,
            worker=self._worker,
            session_id=self.session_id,
            tick=self._tick,
            model=model,
            what=what,
            amounts=amounts,
            identity=caller.identity,
            conversation=caller.conversation,
        )

    async def execute(self, proposal_id: str) -> Hold:
        """Pass the gates, and place the hold of an approved proposal's one execution.

        Raises:
            Refusal: a gate said no, it may not be executed, or what it may cost does not fit.
            StoreUnavailable: the hold could not be written, so it is not executed.
        """
        self._write_ends()
        request = self._request(execution_hold_id(proposal_id), self.caller)
        with anyio.CancelScope(shield=True):
            hold = await self._kernel.database.write(
                begin_execution,
                request,
                proposal_id,
                self._kernel.policy.budgets,
                self._kernel.policy.actions.session_risk,
                self.origin(proposal_id),
            )
        if isinstance(hold, Refusal):
            raise hold
        self._open.add(hold.id)
        self._watched.add(hold.id)
        await self._give_back_if_cancelled(hold)
        return hold

    async def _give_back_if_cancelled(self, hold: Hold) -> None:
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self.release(hold, why="cancelled before the call was sent")
            raise

    def _conclude(self, call: _Call, answer: ModelAnswer) -> Reply:
        usage = answer.usage
        said = fingerprint(call.model.full_name, call.request.messages, answer.text)
        repeats = self._streaks.add(call.hold.id, said, is_free=call.model.price.is_free)
        if usage is None:
            self.forfeit(call.hold, why="the answer did not say what it used")
            cost = call.hold.cost_held
        else:
            cost = call.model.price.cost_micro_usd(usage)
            metering = Metering(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                duration_s=round(self._kernel.clock.monotonic() - call.began_s, 6),
                context=usage.input_tokens if self._context.is_on else 0,
                saved=0 if call.best is None else call.best.price.cost_micro_usd(usage) - cost,
            )
            actual = Amounts(cost=cost, tokens=usage.total_tokens, actions=1)
            end = self._end_of(call.hold, HoldStatus.SETTLED)
            self._end(replace(end, actual=actual, metering=metering, repeats=repeats))
        return Reply(
            text=answer.text,
            usage=usage,
            cost_usd=to_usd(cost),
            model=call.model.full_name,
            finish_reason=answer.finish_reason,
        )

    def settle(self, hold: Hold, actual: Amounts, metering: Metering, *, failure: str = "") -> None:
        """End the hold at its actual cost; durable once `flush` has returned.

        `failure` says of an execution that it failed all the same.
        """
        end = self._end_of(hold, HoldStatus.SETTLED)
        self._end(replace(end, actual=actual, metering=metering, failure=failure))

    def release(self, hold: Hold, *, why: str, fault: Fault = Fault.NONE) -> None:
        """End the hold at nothing; durable once `flush` has returned."""
        self._end(replace(self._end_of(hold, HoldStatus.RELEASED), why=why, fault=fault))

    def forfeit(self, hold: Hold, *, why: str, fault: Fault = Fault.NONE) -> None:
        """End the hold at its full amount; durable once `flush` has returned."""
        self._end(replace(self._end_of(hold, HoldStatus.FORFEITED), why=why, fault=fault))

    def _end_of(self, hold: Hold, status: HoldStatus) -> HoldEnd:
        is_watched = hold.id in self._watched
        return HoldEnd(hold=hold, status=status, origin=self.origin(hold.id), is_watched=is_watched)

    def _end(self, end: HoldEnd) -> None:
        """Queue the first end of the hold; every later one is too late and changes nothing."""
        hold_id = end.hold.id
        if hold_id not in self._open:
            return
        self._open.discard(hold_id)
        is_known = end.status is not HoldStatus.FORFEITED
        self._context.end(hold_id, end.metering.input_tokens if is_known else None)
        if not self._ends:
            # In the loop's next turn, unless the tick ends in this one and takes it along.
            asyncio.get_running_loop().call_soon(self._write_ends)
        self._ends.append(end)
        self._probe.end(hold_id)
        self._streaks.end(hold_id)

    def _write_ends(self) -> None:
        """Hand over what has ended to the store, which keeps the order of calls."""
        ends = self.take_ends()
        if ends:
            database = self._kernel.database
            rules = self._kernel.policy.breakers
            self._written.append(database.write(placing.end_holds, self.session_id, ends, rules))

    def take_ends(self) -> list[HoldEnd]:
        """Return the ends that nobody has written yet; who takes them writes them."""
        ends, self._ends = self._ends, []
        return ends

    async def flush(self) -> None:
        """Wait until every hold that has ended is durable.

        Raises:
            StoreUnavailable: one of them could not be written; its hold stays as it was.
        """
        self._write_ends()
        written, self._written = self._written, []
        failed: StoreUnavailable | None = None
        for writing in written:
            try:
                await writing
            except StoreUnavailable as error:
                failed = error
        if failed is not None:
            raise failed
