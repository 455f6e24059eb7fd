"""What a worker is given for one tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import anyio
import structlog

from supervisor.clock import Clock
from supervisor.errors import storable
from supervisor.governance.breaker import Asker
from supervisor.governance.rotation import HANDOFF_NOTE_MAX
from supervisor.governance.session import Session
from supervisor.governance.token_budgets import Party
from supervisor.governance.token_tracker import TokenBudgetTracker
from supervisor.governance.worth import Saved, add_saved
from supervisor.hands.records import Tick, ToolRecords
from supervisor.jobs.effects import Taking
from supervisor.outcome import Outcome
from supervisor.redaction import REDACTION
from supervisor.worker.actions import Actions, Answer, Approved, Details, build_proposal
from supervisor.worker.callers import CallerWords, parse_caller
from supervisor.worker.calls import Calls
from supervisor.worker.effects import Effect, Effects, Probe
from supervisor.worker.files import Reports, WorkerFiles
from supervisor.worker.handed_over import HandedOver, Send
from supervisor.worker.items import Items, Loops, Source, T, Unit
from supervisor.worker.jobs import JobAccess, JobHand
from supervisor.worker.memory import Memory
from supervisor.worker.model_access import ModelAccess
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.secrets import Secrets
from supervisor.worker.spending import Spending, amounts_of, spending
from supervisor.worker.state import DurableState

if TYPE_CHECKING:
    from supervisor.hands.client import GuardedClient

_CLOSE_S = 2.0


class Context:
    """One tick's surroundings; used only by the worker that it was made for, in that tick."""

    def __init__(
        self,
        kernel: Kernel,
        plan: WorkerPlan,
        *,
        tick: int,
        session: Session,
        state: str,
        hand: JobHand | None = None,
    ) -> None:
        """Give a tick its surroundings; `hand` is what a queue worker has of its job."""
        self.name = plan.name
        self.tick = tick
        self.session = session
        self.options: Mapping[str, object] = plan.options
        self.config_dir = kernel.config_dir
        self.state = DurableState(state)
        #: The job that a queue worker was called for; None in other ticks.
        self.job = hand.job if hand else None
        self.calls = hand.calls if hand else Calls(kernel, plan, tick=tick, session_id=session.id)
        self.jobs = JobAccess(
            kernel,
            self.calls,
            asker=Asker(worker=plan.name, tick=tick),
            session_id=session.id,
        )
        self.model = ModelAccess(kernel, plan, self.calls)
        self._actions = Actions(kernel, self.calls, worker=plan.name, tick=tick, session=session)
        self.handoff_note: str | None = None
        self.saved_by_now: Saved | None = None
        self._said: tuple[Outcome, str] | None = None
        self._kernel = kernel
        self._plan = plan
        self._hand = hand

    @cached_property
    def _records(self) -> ToolRecords:
        return ToolRecords(
            Tick(worker=self.name, number=self.tick, session_id=self.session.id),
            database=self._kernel.database,
            origin=self.calls.origin,
            keep=self.calls.keep,
        )

    @cached_property
    def http(self) -> GuardedClient:
        """An `httpx.AsyncClient` for the hosts that [worker.NAME.http] allows, and no others.

        Every request, each redirect too, passes the gates, the allowlist, the addresses, the
        site's robots.txt and the host's turn, and is on record.

        Raises, in its calls:
            Refusal: a gate or a rule said no.
            HttpFailed: there was no whole answer within the bounds.
        """
        # Imported here: a daemon whose workers send no request does not pay for it.
        from supervisor.hands.client import GuardedClient, Reach

        reach = Reach(
            book=self._kernel.hosts,
            records=self._records,
            chance=self._kernel.chance,
            is_publishing=lambda: self.outputs.is_sending,
        )
        return GuardedClient(self._plan.http, reach)

    async def close(self) -> None:
        """Close what the tick has left open."""
        if "_loops" in self.__dict__:
            self._loops.close()
        if "http" in self.__dict__:
            with anyio.move_on_after(_CLOSE_S):
                await self.http.aclose()

    @cached_property
    def files(self) -> WorkerFiles:
        """The worker's own directory."""
        folder = self._kernel.state_dir / "workers" / self.name
        return WorkerFiles(
            folder, on_refused=lambda name, no: self._records.refused("files", name, no)
        )

    @cached_property
    def _reports(self) -> Reports:
        return Reports(self._kernel.state_dir, self.name)

    @cached_property
    def memory(self) -> Memory:
        """What the worker remembers: `get`, `set`, `delete` and `keys`, durable at once."""
        return Memory(
            self._records,
            database=self._kernel.database,
            now=self._kernel.clock.now,
            bytes_max=self._plan.memory_max_bytes,
        )

    @cached_property
    def secrets(self) -> Secrets:
        """The secrets that [worker.NAME] grants: `ctx.secrets["NAME"]`."""
        return Secrets(self._plan.secrets, self._records)

    @cached_property
    def budgets(self) -> TokenBudgetTracker:
        """Budgets for calls that the worker makes without `ctx.model`: ask before, report after."""
        kernel = self._kernel
        return TokenBudgetTracker(
            kernel.database,
            budgets=kernel.policy.budgets,
            governor=kernel.policy.governor,
            clock=kernel.clock,
            party=Party(
                identity=self.calls.caller.identity, worker=self.name, session_id=self.session.id
            ),
        )

    @property
    def handed_over(self) -> HandedOver | None:
        """The tick's outputs, None where there are none and none are asked for."""
        is_used = "outputs" in self.__dict__ or bool(self._plan.checks.names)
        return self.outputs if is_used else None

    @cached_property
    def outputs(self) -> HandedOver:
        """What the tick hands over; judged, published and kept by the tick's end."""
        return HandedOver(
            self._plan.checks,
            self._reports,
            self._records,
            database=self._kernel.database,
            now=self._kernel.clock.now,
        )

    def once(self, key: str, *, probe: Probe | None = None) -> AbstractAsyncContextManager[Effect]:
        """Do something outside once, however often this tick or its job is repeated.

        `async with ctx.once("mail:42") as effect:` takes the key, durably. If `effect.is_new`, do
        it and call `effect.record(result)`; else `effect.result` is what was recorded first. A key
        is the queue's of a queue worker, else the worker's.

        Leaving by an exception, or a death in between, leaves the outcome unknown, unless
        `effect.release()` has said that nothing was done. An unknown effect is not repeated: a
        `probe` is asked, which returns what came of it, `supervisor.NOT_DONE`, or None if it does
        not know either; or a person says it, by `supervisor jobs resolve`.

        Raises, on entering:
            EffectUnknown: nobody knows whether it was done.
            EffectInFlight: another tick is at it.
            Refusal: a gate said no, or the key is none.
        """
        return self._effects.once(key, probe)

    @cached_property
    def _effects(self) -> Effects:
        plan = self._plan
        taking = Taking(
            scope=f"queue:{plan.queue}" if plan.queue else f"worker:{plan.name}",
            key="",
            boot_id=self._kernel.boot_id,
            worker=self.name,
            tick=self.tick,
            job=self.job.id if self.job else "",
        )
        return Effects(self._kernel, self.calls, taking, session_id=self.session.id)

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger that names the worker, its session and the tick."""
        return self._kernel.log.bind(
            worker=self.name,
            session_id=self.session.id,
            tick=self.tick,
            correlation_id=f"{self.name}#{self.tick}",
        )

    @property
    def clock(self) -> Clock:
        """The daemon's clock."""
        return self._kernel.clock

    @property
    def stopping(self) -> bool:
        """Whether the daemon is draining: finish soon, it waits `grace_s` at most."""
        return self._kernel.is_stopping

    def spend(
        self,
        *,
        usd_max: float,
        what: str,
        tokens_max: int = 0,
        actions: int = 1,
        **caller: Unpack[CallerWords],
    ) -> AbstractAsyncContextManager[Spending]:
        """Hold the worst case of any other paid call while the block makes it.

        `identity` and `conversation` as for `ctx.model.complete`.

        Inside, `settle(usd=)` says the actual cost and `release()` that nothing was sent; leaving
        without either settles at `usd_max`, leaving by an exception forfeits it.

        Raises:
            Refusal: a gate said no, or the worst case does not fit.
        """
        worst = amounts_of(f"spend {what!r}", usd=usd_max, tokens=tokens_max, actions=actions)
        return spending(self.calls, worst, what=what, whose=parse_caller(caller, self.calls.caller))

    async def propose(
        self, action: str, *, command_id: str | None = None, **details: Unpack[Details]
    ) -> Answer:
        """Ask to take an action that the policy knows, and return what became of it.

        `Approved`: `async with` it executes it, once, under a hold of `cost_usd` and `tokens`.
        `Ticket` and `Draft`: a person is asked; the worker is called again when that is decided.
        `Guidance`: do something else. Entering one that is not approved raises
        `ApprovalRequired`, which ends the tick as refused until then.

        `resource` is `type:id`; `cost_usd` and `tokens` the most that it may use; `weight` and
        `score` what the risk goes by: a score that is left out is 0, which is a high risk. The
        same `command_id` again, in whichever tick, asks where that proposal stands; without one,
        each call is a proposal of its own.

        Raises:
            ActionDenied: by the policy, by a person, because nobody decided, or it was executed.
            Refusal: a gate said no, or the proposal is not of the form.
            CommandConflict: the command id was used for another proposal.
        """
        with self.calls.recording_refusal(""):
            proposal = build_proposal(action, details)
        return await self._actions.propose(proposal, command_id=command_id)

    async def approved(self) -> list[Approved]:
        """Return what was approved for the worker and not executed yet: the oldest 1,000."""
        return await self._actions.approved()

    def report(
        self, title: str, markdown: str, name: str | None = None, at: datetime | None = None
    ) -> Path:
        """Write Markdown for people under `reports/` and return its path.

        The same `name` replaces the same file, so that a repeated unit of work leaves one report.
        With checks in [worker.NAME.output] it is a draft until the tick has passed them; `at` is
        the moment that it tells of, for the check of its age.
        """
        return self.outputs.report(title, markdown, name=name, at=at)

    def publish(
        self,
        content: object,
        *,
        key: str = "",
        at: datetime | None = None,
        send: Send | None = None,
    ) -> None:
        """Hand over an output, a JSON value of at most 1 MB, and how it is sent.

        Nothing is sent before the worker has returned and all that it handed over has passed the
        checks of [worker.NAME.output]; then each `send` is awaited, in order, through the gates. If
        a check finds something, none is sent, the tick has failed, and all is kept as a draft.
        `key` names the output: the same key with the same content may come again. `at` is the
        moment that it tells of.

        Raises:
            InputRefused: it is no JSON, too large, or one too many.
        """
        self.outputs.publish(content, key=key, at=at, send=send)

    def report_path(self, name: str) -> Path:
        """Return where the report `name` is or would be."""
        return self._reports.path(name)

    def each(
        self,
        items: Source[T],
        *,
        total: int | None = None,
        label: Callable[[T], str] = str,
        name: str = "items",
    ) -> Items[T]:
        """Go through long work item by item: `async for item in ctx.each(items):`.

        `items` come from any iterable, the same ones in the same order each time. When the next one
        is asked for, the one before is committed, with `ctx.state`, the loop's own `.kept`, and the
        jobs of `enqueue_with_tick`. After a crash or a failure the job's next attempt, or the
        worker's next tick, goes on behind the last one, which it knows by its `label`; after a tick
        that ended as ok or noop the next one begins anew.

        Raises, in the loop:
            InputRefused: the name was used in this tick, or what is kept is no JSON or too large.
            ItemsChanged: they are not those from before, and can't be gone through again.
            Refusal: a gate said no, or the job or the tick was taken away.
        """
        return self._loops.open(items, total=total, label=label, name=name)

    @cached_property
    def _loops(self) -> Loops:
        return Loops(
            Unit(
                database=self._kernel.database,
                tick=self._records.tick,
                hand=self._hand,
                state=self.state,
                jobs=self.jobs,
                origin=self.calls.origin,
                has_waiting_outputs=lambda: "outputs" in self.__dict__ and self.outputs.is_waiting,
                log=self.log,
            )
        )

    def progress(self, *, done: int, total: int | None = None, item: str = "") -> None:
        """Say how far the tick has come, for people to see; `each` does so by itself."""
        self._loops.told.tell(done=done, total=total, item=item)

    def saved(self, hours: float, what: str = "") -> None:
        """Say how many hours of people's work the tick has saved; what it says adds up.

        On record with the tick's end, at the config's `rate_usd_per_hour`, if the tick ends as ok
        or noop; in place of the worker's `hours_saved` of the config, also where it is 0.

        Raises:
            InputRefused: that is no number of hours.
        """
        self.saved_by_now = add_saved(self.saved_by_now, hours, REDACTION.text(storable(what)))

    def failed(self, why: str) -> Outcome:
        """Say why the tick fails: `return ctx.failed("the feed answers 404")`.

        It is on record with the tick's end, and stands in the status, in the morning report and in
        what a breaker or a dead job says.
        """
        return self._ended(Outcome.FAILED, why)

    def unknown(self, why: str) -> Outcome:
        """Say why nobody knows what the tick has done: `return ctx.unknown("no answer came")`."""
        return self._ended(Outcome.UNKNOWN, why)

    def _ended(self, outcome: Outcome, why: str) -> Outcome:
        self._said = (outcome, str(why))  # an exception says it as well
        return outcome

    def why(self, outcome: Outcome) -> str:
        """Return why the tick ends like that, if the worker has said so."""
        return self._said[1] if self._said is not None and self._said[0] is outcome else ""

    def handoff(self, note: str) -> None:
        """Leave a note of at most 4,000 characters for the session after this one.

        The next session's worker reads it as `ctx.session.received_note`.
        """
        self.handoff_note = storable(note)[:HANDOFF_NOTE_MAX]
