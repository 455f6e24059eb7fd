"""`ctx.each`: long work goes item by item, each committed, and goes on behind the last one."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Sized,
)
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar, cast

import anyio.lowlevel
import msgspec
from structlog.typing import FilteringBoundLogger

from supervisor.errors import InputRefused, Refusal, storable
from supervisor.events.log import Origin
from supervisor.hands.records import Tick
from supervisor.jobs import progress
from supervisor.jobs.progress import DoneItem, ItemsChanged, Loop, Progress
from supervisor.redaction import REDACTION
from supervisor.storage.database import Database
from supervisor.worker.item_records import (
    CommittedItem,
    begin_items,
    begin_items_anew,
    commit_item,
)
from supervisor.worker.jobs import JobAccess, JobHand
from supervisor.worker.state import DurableState, Json
from supervisor.worker.told_progress import SHOWN_AFTER_S, ToldProgress, write_for_people

T = TypeVar("T")

#: What gives the items: the same ones in the same order each time.
Source: TypeAlias = Iterable[T] | AsyncIterable[T]

_NAME_MAX = 128
_LABEL_MAX = 200
_KEPT_BYTES_MAX = 65_536
#: While items are passed over that were done before, others have their turn as often as this.
_TURN_EVERY = 1_000
_END = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The tick, or its job, whose items they are.

    `has_waiting_outputs` says that something handed over waits for its end; `hand` is None where it
    works for no job.
    """

    database: Database
    tick: Tick
    hand: JobHand | None
    state: DurableState
    jobs: JobAccess
    origin: Callable[[], Origin]
    has_waiting_outputs: Callable[[], bool]
    log: FilteringBoundLogger

    @property
    def session_id(self) -> str:
        """Where its events stand."""
        return self.tick.session_id

    def loop(self, name: str) -> Loop:
        """Return the loop of a name."""
        tick, job = self.tick, self.hand.job if self.hand else None
        return Loop(
            worker=tick.worker,
            tick=tick.number,
            name=name,
            job=job.id if job else "",
            token=job.token if job else None,
        )


class Loops:
    """The loops of one tick, or of one of its jobs, each under a name of its own."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._loops: dict[str, Items[Any]] = {}
        self.told = ToldProgress(unit.database, unit.loop(""), unit.origin)

    def open(
        self, source: Source[T], *, total: int | None, label: Callable[[T], str], name: str
    ) -> Items[T]:
        """Return a loop; see `Context.each`.

        Raises:
            InputRefused: the name is none, or was used.
        """
        unit, loop = self._unit, self._unit.loop(name)
        if not 0 < len(name) <= _NAME_MAX or not name.isprintable():
            fix = f"use 1 to {_NAME_MAX} printable signs"
            raise _refused(loop, f"have no usable name: {name[:_NAME_MAX]!r}", fix)
        if name in self._loops:
            what = f"have a second loop of the name {name!r}, which would go on where the first is"
            raise _refused(loop, what, "give each loop a name= of its own, the same each time")
        size = len(source) if total is None and isinstance(source, Sized) else total
        items = self._loops[name] = Items(unit, loop, source, total=size, label=label)
        return items

    def close(self) -> None:
        """Name no item any more: the tick is over."""
        self.told.close()
        for items in self._loops.values():
            items.close()


class Items(Generic[T]):
    """The items of one loop, each committed when the next one is asked for.

    With an item goes all that the worker keeps of it: `kept`, `ctx.state` and the jobs of
    `ctx.jobs.enqueue_with_tick`. One that was left by an exception, by `break` or by a death is
    given again at the next attempt. Used only by its tick's task.
    """

    def __init__(
        self,
        unit: Unit,
        loop: Loop,
        source: Source[T],
        *,
        total: int | None,
        label: Callable[[T], str],
    ) -> None:
        self._unit = unit
        self._loop = loop
        self._source = source
        self._total = total
        self._label = label
        self._iterator: Iterator[T] | AsyncIterator[T] | None = None
        self._in_work: T | object = _END
        self._naming: asyncio.TimerHandle | None = None
        #: How many items are done and committed, those of attempts before among them.
        self.done = 0
        #: What the work carries from item to item: JSON values, at most 64 KB, as committed last.
        self.kept: dict[str, Json] = {}

    def __aiter__(self) -> Items[T]:
        return self

    async def __anext__(self) -> T:
        if self._iterator is None:
            await self._begin()
        elif self._in_work is not _END:
            await self._commit(cast("T", self._in_work))
        item = await self._next()
        if item is _END:
            raise StopAsyncIteration
        self._in_work = item
        loop = asyncio.get_running_loop()
        self._naming = loop.call_later(SHOWN_AFTER_S, self._name, self._label_of(cast("T", item)))
        return cast("T", item)

    def close(self) -> None:
        """Name nothing any more: the tick is over."""
        if self._naming is not None:
            self._naming.cancel()

    # --- where it begins

    async def _begin(self) -> None:
        unit = self._unit
        if unit.hand is not None:
            # What its items leave comes after the ends of the jobs before it.
            await unit.hand.settle()
        origin = unit.origin()
        begun = _granted(
            await unit.database.write(begin_items, unit.session_id, origin, self._loop, self._total)
        )
        self._iterator = _iterator_of(self._source)
        kept = _kept_of(begun)
        if kept is None or not await self._pass_over(begun):
            await self._begin_anew(begun)
            return
        self.done, self.kept = begun.done, kept

    async def _pass_over(self, begun: Progress) -> bool:
        """Take the items that are done from the source; False where they are not the same."""
        item: T | object = _END
        for number in range(begun.done):
            item = await self._next()
            if item is _END:
                return False
            if number % _TURN_EVERY == 0:
                await anyio.lowlevel.checkpoint()
        return begun.done == 0 or self._label_of(cast("T", item)) == begun.last_item

    async def _begin_anew(self, begun: Progress) -> None:
        """Begin with the first item: to pass over others than were done would lose them unseen."""
        unit = self._unit
        unit.log.warning(
            "items_changed", name=self._loop.name, done=begun.done, last_item=begun.last_item
        )
        origin = unit.origin()
        _granted(
            await unit.database.write(
                begin_items_anew, unit.session_id, origin, self._loop, self._total
            )
        )
        if self._source is self._iterator:
            raise ItemsChanged(owner=self._loop.owner, done=begun.done, last_item=begun.last_item)
        self._iterator = _iterator_of(self._source)

    async def _next(self) -> T | object:
        iterator = self._iterator
        if isinstance(iterator, AsyncIterator):
            return await anext(iterator, _END)
        assert iterator is not None, "it has begun"
        return next(iterator, _END)

    # --- one that is done

    async def _commit(self, item: T) -> None:
        """Commit the item in work, with all that is kept of it.

        Raises:
            InputRefused: what is to be kept can't be; the item is not done.
            WorkTakenAway: the job or the tick is somebody else's by now.
            StoreUnavailable: it was not written.
            CommandConflict: a job that it wants has the key of another.
        """
        unit = self._unit
        self.close()
        if unit.has_waiting_outputs():
            raise _refused(
                self._loop,
                "hand over outputs that wait for the tick's end, and a crash would lose them",
                "gather what is to be published in .kept and publish it behind the loop, or send it"
                " in the item under ctx.once",
            )
        state = self._state()
        done = CommittedItem(
            item=DoneItem(
                done=self.done + 1,
                total=self._total,
                label=self._label_of(item),
                kept=self._encoded_kept(),
            ),
            jobs=unit.jobs.requests,
            state=state,
        )
        refusal = await unit.database.write(
            commit_item, unit.session_id, unit.origin(), self._loop, done
        )
        if refusal is not None:
            raise refusal
        unit.jobs.take_requests()
        if state is not None:
            unit.state.committed = state
        self.done, self._in_work = done.item.done, _END

    def _state(self) -> str | None:
        """Return the worker's state as it is to be stored, None where it is so already."""
        try:
            encoded = self._unit.state.encode()
        except (TypeError, ValueError) as error:
            raise _refused(self._loop, f"can't be committed: {error}", "mend ctx.state") from error
        state = None if encoded is None else REDACTION.text(encoded)
        return None if state == self._unit.state.committed else state

    def _encoded_kept(self) -> str:
        fix = "keep texts, finite numbers, truths, None, lists and dicts of them"
        try:
            encoded = msgspec.json.encode(self.kept)
        except (TypeError, ValueError, RecursionError) as error:
            what = f"keep what is not JSON in .kept: {error}"
            raise _refused(self._loop, what, fix) from error
        if len(encoded) > _KEPT_BYTES_MAX:
            what = f"keep {len(encoded)} bytes in .kept, at most {_KEPT_BYTES_MAX} go"
            raise _refused(self._loop, what, "keep a path of ctx.files")
        return REDACTION.text(encoded.decode())

    # --- what it is called

    def _label_of(self, item: T) -> str:
        kind = type(item)
        if (
            self._label is str
            and kind.__str__ is object.__str__
            and kind.__repr__ is object.__repr__
        ):
            what = f"are of {kind.__name__}, which has no text of its own to be known by"
            raise _refused(self._loop, what, "give label=, such as label=lambda item: item.id")
        return REDACTION.text(storable(str(self._label(item))))[:_LABEL_MAX]

    def _name(self, label: str) -> None:
        """Let others see which item takes so long."""
        write_for_people(
            self._unit.database.write(progress.name_item, self._loop, self.done, label)
        )


def _kept_of(begun: Progress) -> dict[str, Json] | None:
    """Return what was kept, None where somebody has damaged it."""
    try:
        return msgspec.json.decode(begun.kept, type=dict[str, Any])
    except msgspec.DecodeError:
        return None


def _granted(begun: Progress | Refusal) -> Progress:
    if isinstance(begun, Refusal):
        raise begun
    return begun


def _iterator_of(source: Source[T]) -> Iterator[T] | AsyncIterator[T]:
    return aiter(source) if isinstance(source, AsyncIterable) else iter(source)


def _refused(loop: Loop, what: str, fix: str) -> InputRefused:
    return InputRefused(subject=f"items of {loop.owner}", what=what, fix=fix)
