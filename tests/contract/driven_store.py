"""A real driver behind the calls of `tests.direct_store.DirectStore`, for tests without a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from supervisor.storage.database import Database, Transaction
from tests.contract.site import Site

P = ParamSpec("P")
T = TypeVar("T")


class DrivenStore:
    """Runs functions one after the other, each in a transaction of its own, and waits for it."""

    def __init__(self, site: Site) -> None:
        self._runner = asyncio.Runner()
        self._database: Database | None = self._runner.run(site.open())
        self.published: list[object] = []
        self._database.listen(self.published.extend)

    def write(
        self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kw: P.kwargs
    ) -> T:
        """Commit what `function` does, or nothing where it raises."""

        async def wait() -> T:
            assert self._database is not None
            return await self._database.write(function, *args, **kw)

        return self._runner.run(wait())

    def close(self) -> None:
        """Close the store; again is no harm."""
        if self._database is not None:
            self._runner.run(self._database.close())
            self._runner.close()
            self._database = None
