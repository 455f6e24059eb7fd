"""A tick's paid calls: each under a hold of its own that ends exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import msgspec

from supervisor.backoff import delay_s
from supervisor.errors import ProviderFailed, Refusal, StoreUnavailable
from supervisor.events.log import Origin
from supervisor.governance.executions import begin_execution
from supervisor.governance.model_governor import ModelAccess
from supervisor.governance.proposals import execution_hold_id
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.hold_rows import call_hold_id
from supervisor.ledger.holds import Hold, HoldRequest, HoldStatus, Metering
from supervisor.money import to_usd
from supervisor.providers.provider import Message, ModelAnswer, ModelRequest
from supervisor.worker import placing
from supervisor.worker.callers import Caller
from supervisor.worker.models import Model
from supervisor.worker.placing import Bid, Granted, HoldEnd
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.replies import Reply, ReplyStream

_RETRY_FACTOR = 2.0
_NOTHING = Amounts()
_UNMETERED = Metering()


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker asks of a model, and on whose behalf."""

    model: Model
    messages: tuple[Message, ...]
    max_tokens: int
    purpose: str
    caller: Caller


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    model: Model
    hold: Hold
    request: ModelRequest
    began_s: float


class RecordingRefusal:
    """A block whose refusal is recorded; it is raised all the same."""

    __slots__ = ("_calls", "_model")

    def __init__(self, calls: Calls, model: str) -> None:
        self._calls = calls
        self._model = model

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Refusal):
            self._calls.record_refusal(self._model, error)


class _Ending:
    """A block that sees to it that a hold has ended when it does, however it does."""

    __slots__ = ("_calls", "_hold")

    def __init__(self, calls: Calls, hold: Hold) -> None:
        self._calls = calls
        self._hold = hold

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ProviderFailed):
            if error.was_refused:
                self._calls.release(self._hold, why=error.what)
            else:
                self._calls.forfeit(self._hold, why=error.what)
        elif error is not None:
            self._calls.forfeit(self._hold, why="cancelled while it was in flight")
        else:
            self._calls.forfeit(self._hold, why="left before the answer was whole")


class Calls:
    """Places and ends the holds of one tick. Written only by that tick's task."""

    def __init__(self, kernel: Kernel, plan: WorkerPlan, *, tick: int, session_id: str) -> None:
        self.caller = Caller(identity=plan.identity)
        self._kernel = kernel
        self._worker = plan.name
        self._tick = tick
        self._session_id = session_id
        self._count = 0
        self._open: set[str] = set()
        self._ends: list[HoldEnd] = []
        self._written: list[Awaitable[object]] = []

    def origin(self, command_id: str = "") -> Origin:
        """Return the origin of an event that this tick makes now."""
        return Origin(
            at=self._kernel.clock.now(),
            actor=f"worker:{self._worker}",
            correlation_id=f"{self._worker}#{self._tick}",
            command_id=command_id,
        )

    async def complete(self, question: Question) -> Reply:
        """Call a model, trying again as its provider allows, each try under its own hold.

        Raises:
            Refusal: a gate said no, or the worst case did not fit; nothing was sent.
            ProviderFailed: the last try failed.
        """
        model = question.model
        for attempt in range(1, model.attempts_max + 1):
            try:
                return await self._try(question)
            except ProviderFailed as error:
                if attempt == model.attempts_max or not error.is_retryable:
                    raise
                await anyio.sleep(self._retry_delay_s(model, attempt, error))
        raise AssertionError(f"model {model.full_name} allows no attempt")

    def _retry_delay_s(self, model: Model, attempt: int, error: ProviderFailed) -> float:
        own_s = delay_s(
            attempt,
            first_s=model.retry_delay_s,
            max_s=model.retry_delay_max_s,
            factor=_RETRY_FACTOR,
            chance=self._kernel.chance,
        )
        return max(own_s, error.retry_after_s or 0.0)

    async def _try(self, question: Question) -> Reply:
        call = await self._place_call(question)
        with _Ending(self, call.hold):
            answer = await call.model.provider.complete(call.request)
            return self._conclude(call, answer)

    @asynccontextmanager
    async def stream(self, question: Question) -> AsyncIterator[ReplyStream]:
        """Call a model and give its answer as it arrives; tried once.

        A stream that is left before its end is forfeited: what it cost is not known.

        Raises:
            Refusal, ProviderFailed: as for `complete`.
        """
        call = await self._place_call(question)
        with _Ending(self, call.hold):
            async with call.model.provider.stream(call.request) as arriving:
                yield ReplyStream(arriving, lambda: self._conclude(call, arriving.answer))

    async def _place_call(self, question: Question) -> _Call:
        model, max_tokens = question.model, question.max_tokens
        asked = ModelRequest(model=model.name, messages=question.messages, max_tokens=max_tokens)
        with self.recording_refusal(model.full_name):
            input_tokens_max = model.provider.input_tokens_max(asked)
        bid = Bid(
            access=self._access(question),
            price=model.price,
            input_tokens_max=input_tokens_max,
            output_tokens_max=max_tokens,
            output_tokens_min=min(self._kernel.policy.min_output_tokens, max_tokens),
        )
        granted = await self.place(
            what=question.purpose,
            amounts=bid.amounts(max_tokens),
            caller=question.caller,
            model=model.full_name,
            bid=bid,
        )
        return _Call(
            model=model,
            hold=granted.hold,
            request=msgspec.structs.replace(asked, max_tokens=granted.output_tokens_max),
            began_s=self._kernel.clock.monotonic(),
        )

    def keep(self, writing: Awaitable[object]) -> None:
        """Take a write that is on its way: `flush`, and so the tick's end, waits for it."""
        self._written.append(writing)

    def _access(self, question: Question) -> ModelAccess | None:
        governor = self._kernel.policy.governor
        if governor is None:
            return None
        caller = question.caller
        return governor.check_access(caller.identity, question.model.full_name, caller.action_tier)

    def recording_refusal(self, model: str) -> RecordingRefusal:
        """Return a block that records a refusal that is raised before a hold is asked for."""
        return RecordingRefusal(self, model)

    def record_refusal(self, model: str, refusal: Refusal) -> None:
        """Record a refusal of a call for which no hold was asked."""
        where = (self._session_id, self._worker, model)
        self._written.append(
            self._kernel.database.write(placing.record_refusal, *where, refusal, self.origin())
        )

    async def place(
        self,
        *,
        what: str,
        amounts: Amounts,
        caller: Caller,
        model: str = "",
        bid: Bid | None = None,
    ) -> Granted:
        """Pass the gates and place a hold.

        Raises:
            Refusal: a gate said no, or the worst case did not fit.
            StoreUnavailable: the hold could not be written, so there is no call.
        """
        self._write_ends()
        self._count += 1
        hold_id = call_hold_id(self._worker, self._tick, self._count)
        request = self._request(hold_id, caller, model=model, what=what, amounts=amounts)
        # Shielded: a cancel in between would leave a hold of which this task does not know.
        with anyio.CancelScope(shield=True):
            placed = await self._kernel.database.write(
                placing.place, request, bid, self._kernel.policy.budgets, self.origin(hold_id)
            )
        if isinstance(placed, Refusal):
            raise placed
        self._open.add(placed.hold.id)
        await self._give_back_if_cancelled(placed.hold)
        return placed

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
            session_id=self._session_id,
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
        if usage is None:
            self.forfeit(call.hold, why="the answer did not say what it used")
            cost = call.hold.cost_held
        else:
            cost = call.model.price.cost_micro_usd(usage)
            metering = Metering(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                duration_s=round(self._kernel.clock.monotonic() - call.began_s, 6),
            )
            actual = Amounts(cost=cost, tokens=usage.total_tokens, actions=1)
            self.settle(call.hold, actual, metering)
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
        self._end(hold, HoldStatus.SETTLED, actual=actual, metering=metering, failure=failure)

    def release(self, hold: Hold, *, why: str) -> None:
        """End the hold at nothing; durable once `flush` has returned."""
        self._end(hold, HoldStatus.RELEASED, why=why)

    def forfeit(self, hold: Hold, *, why: str) -> None:
        """End the hold at its full amount; durable once `flush` has returned."""
        self._end(hold, HoldStatus.FORFEITED, why=why)

    def _end(
        self,
        hold: Hold,
        status: HoldStatus,
        *,
        actual: Amounts = _NOTHING,
        metering: Metering = _UNMETERED,
        why: str = "",
        failure: str = "",
    ) -> None:
        """Queue the first end of the hold; every later one is too late and changes nothing."""
        if hold.id not in self._open:
            return
        self._open.discard(hold.id)
        if not self._ends:
            # In the loop's next turn, unless the tick ends in this one and takes it along.
            asyncio.get_running_loop().call_soon(self._write_ends)
        self._ends.append(
            HoldEnd(
                hold=hold,
                status=status,
                origin=self.origin(hold.id),
                actual=actual,
                metering=metering,
                why=why,
                failure=failure,
            )
        )

    def _write_ends(self) -> None:
        """Hand over what has ended to the store, which keeps the order of calls."""
        ends = self.take_ends()
        if ends:
            database = self._kernel.database
            self._written.append(database.write(placing.end_holds, self._session_id, ends))

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
