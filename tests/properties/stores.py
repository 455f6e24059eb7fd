"""Stores for state machines: whole functions run one after the other, on whichever database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from supervisor.storage.database import Database, Transaction
from tests.direct_store import DirectStore

P = ParamSpec("P")
T = TypeVar("T")


class Store(Protocol):
    """Runs a function as a transaction and waits for it."""

    def write(
        self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Commit what `function` does, or nothing where it raises."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...


class Memory:
    """SQLite in memory, without a thread: quick enough for thousands of examples."""

    def __init__(self) -> None:
        self._store = DirectStore()

    def write(
        self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._store.write(function, *args, **kwargs)

    def close(self) -> None:
        self._store.close()


class Driven:
    """A real driver, with its own loop that runs while it is waited for."""

    def __init__(self, opened: Callable[[], Coroutine[Any, Any, Database]]) -> None:
        self._runner = asyncio.Runner()
        self._database = self._runner.run(opened())

    def write(
        self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        async def wait() -> T:
            return await self._database.write(function, *args, **kwargs)

        return self._runner.run(wait())

    def close(self) -> None:
        self._runner.run(self._database.close())
        self._runner.close()


class Answering:
    """A store as the part of `Database` that recovery uses; it has answered when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(
        self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._store.write(function, *args, **kwargs)

    async def read(
        self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._store.write(function, *args, **kwargs)


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waited for something")
