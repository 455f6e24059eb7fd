"""An event loop whose waiting takes no time, and the two clocks that it moves."""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Callable, Coroutine, Iterator, Mapping, MutableSet
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio.abc import TaskGroup

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")

#: Turns of the loop in which no time passes; far above what any tick needs.
_TURNS_MAX = 100_000
_BURIALS_MAX = 8
_BURIAL_S = 1e-6


class SimulatedClock:
    """Both clocks of the simulated machine: time passes on both, steps are of the wall's alone.

    A suspend is a step forward too, as Linux's monotonic clock stands still while it lasts.
    """

    def __init__(self, start: datetime) -> None:
        self.start = start
        self._passed_s = 0.0
        self._stepped_us = 0

    def now(self) -> datetime:
        us = round(self._passed_s * 1e6) + self._stepped_us
        return self.start + timedelta(microseconds=us)

    def monotonic(self) -> float:
        return self._passed_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks."""
        self._passed_s += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self._stepped_us += round(seconds * 1e6)


class Standstill(Exception):
    """The loop has nothing to wait for, or turns for ever while no time passes."""


class _Selector(selectors.BaseSelector):
    """Watches no file at all: where nothing is ready, it lets the time pass."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self._registered: dict[FileDescriptorLike, selectors.SelectorKey] = {}
        self._turns = 0

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._registered[fileobj] = key
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._registered.pop(fileobj)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._registered

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Standstill("every task waits for another one")
        if timeout > 0:
            self._turns = 0
            self.clock.advance(timeout)
            return []
        self._turns += 1
        if self._turns > _TURNS_MAX:
            self._turns = 0
            raise Standstill(f"the loop turned {_TURNS_MAX} times and no time passed")
        return []


class _Task(asyncio.Task[T]):
    """A task whose hash is its number, so that sets of tasks have the same order in every run."""

    def __init__(self, number: int, coro: Any, **kwargs: Any) -> None:
        self._number = number
        super().__init__(coro, **kwargs)

    def __hash__(self) -> int:
        return self._number


class _InOrder(MutableSet[Any]):
    """A set that is gone through in the order in which its members came."""

    def __init__(self) -> None:
        self._members: dict[Any, None] = {}

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, value: Any) -> None:
        self._members[value] = None

    def discard(self, value: Any) -> None:
        self._members.pop(value, None)


def create_task_group() -> TaskGroup:
    """Return a task group whose tasks are cancelled in the same order in every run.

    In newer versions of anyio each task has a scope of its own, and a group keeps them in a set,
    whose order is that of their addresses in memory.
    """
    tasks = anyio.create_task_group()
    object.__setattr__(tasks.cancel_scope, "_child_scopes", _InOrder())
    return tasks


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in virtual time, for one life of a daemon that may be cut off at any moment."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self._is_cut_off = False
        self._selector_of_time = _Selector(clock)
        super().__init__(self._selector_of_time)
        numbers = itertools.count()
        self.set_task_factory(
            lambda loop, coro, **options: _Task(next(numbers), coro, loop=loop, **options)
        )
        self.set_exception_handler(self._on_error)
        self.on_error: Callable[[BaseException | None, str], None] = lambda _error, _message: None

    def time(self) -> float:
        return self._clock.monotonic()

    def cut_off(self) -> None:
        """End this life as kill -9 does: nothing is cancelled, nothing is cleaned up.

        What is ready in this very turn still runs; the store and the provider of a life that is
        over take nothing from it.
        """
        self._is_cut_off = True
        self.stop()

    def live(self, main: Coroutine[Any, Any, T]) -> T | None:
        """Run `main` to its end and return its result, None where it was cut off.

        Raises:
            Standstill: nothing can happen any more.
            BaseException: what `main` raised.
        """
        task = self.create_task(main)
        task.add_done_callback(lambda _: self.stop())
        try:
            self.run_forever()
            return None if self._is_cut_off or not task.done() else task.result()
        finally:
            self._is_cut_off = True
            try:
                self._bury()
            finally:
                self.close()

    def _bury(self) -> None:
        """Cancel what a life has left behind, so that no finalizer of it runs at a later moment.

        None of it does anything any more: its store and its vendors raise. The simulated time
        stands still meanwhile.
        """
        self._clock = self._selector_of_time.clock = SimulatedClock(self._clock.start)
        for _ in range(_BURIALS_MAX):
            left = [task for task in asyncio.all_tasks(self) if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            self.call_later(_BURIAL_S, self.stop)
            self.run_forever()
        self.run_until_complete(self.shutdown_asyncgens())

    def _on_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self._is_cut_off:
            self.on_error(context.get("exception"), str(context.get("message", "")))
